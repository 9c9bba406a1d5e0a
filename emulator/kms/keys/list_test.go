package keys

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

type keyPage struct {
	page []*Key
	next string
}

func got2(page []*Key, next string, err error) keyPage {
	if err != nil {
		panic(err)
	}
	return keyPage{page, next}
}

func TestListPages(t *testing.T) {
	r, _ := newTestRing(t)
	var want []string
	for range 7 {
		want = append(want, create(t, r, Symmetric, "").ID)
	}
	slices.Sort(want)
	for _, limit := range []int{0, 1, 3, 6, 7, 8, MaxListKeys} {
		var seen []string
		marker, pages := "", 0
		for {
			p := got2(r.List(limit, marker))
			if limit > 0 && len(p.page) > limit {
				t.Fatalf("page of %d keys, limit %d", len(p.page), limit)
			}
			for _, k := range p.page {
				seen = append(seen, k.ID)
			}
			pages++
			if marker = p.next; marker == "" {
				break
			}
		}
		if !slices.Equal(seen, want) {
			t.Errorf("limit %d: %v, want %v", limit, seen, want)
		}
		if limit == 7 && pages != 1 {
			t.Errorf("%d pages of 7 of 7 keys", pages)
		}
	}
}

// A key that goes between two pages takes no other with it.
func TestListWhileAliasesGo(t *testing.T) {
	r, _ := newTestRing(t)
	k, other := create(t, r, Symmetric, ""), create(t, r, Symmetric, "")
	for i := range 6 {
		must(t, r.CreateAlias(fmt.Sprint("alias/", i), k.ID))
	}
	must(t, r.CreateAlias("alias/other", other.ID))
	page, next, err := r.ListAliases(k.ID, 3, "")
	must(t, err)
	must(t, r.DeleteAlias(page[2].Name)) // the one the marker names
	rest, next, err := r.ListAliases(k.ID, 3, next)
	must(t, err)
	var names []string
	for _, a := range rest {
		names = append(names, a.Name)
	}
	if want := []string{"alias/3", "alias/4", "alias/5"}; !slices.Equal(names, want) || next != "" {
		t.Errorf("second page is %v, next %q, want %v", names, next, want)
	}
	all, _, err := r.ListAliases("", 0, "")
	must(t, err)
	if len(all) != 6 {
		t.Errorf("%d aliases in all, want 6", len(all))
	}
}

func TestListRefuses(t *testing.T) {
	r, _ := newTestRing(t)
	for _, test := range []struct {
		limit  int
		marker string
		want   error
	}{
		{-1, "", ErrValidation},
		{MaxListKeys + 1, "", ErrValidation},
		{1, "no base64", ErrInvalidMarker},
		{1, "YQ==", ErrInvalidMarker},
		{1, "YR", ErrInvalidMarker}, // bits that are not used are set
		{1, strings.Repeat("A", maxMarker+1), ErrInvalidMarker},
		{1, base64.RawURLEncoding.EncodeToString([]byte("anything")), nil},
	} {
		_, _, err := r.List(test.limit, test.marker)
		wantErr(t, err, test.want)
	}
	_, _, err := r.ListAliases(noSuchKey, 0, "")
	wantErr(t, err, ErrNotFound)
	_, _, err = r.ListAliases("", MaxListAliases+1, "")
	wantErr(t, err, ErrValidation)
}

// The longest alias gives a marker that is accepted.
func TestLongestMarker(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.CreateAlias("alias/"+strings.Repeat("a", MaxAliasName-6), k.ID))
	must(t, r.CreateAlias("alias/b", k.ID))
	_, next, err := r.ListAliases("", 1, "")
	must(t, err)
	page, _, err := r.ListAliases("", 1, next)
	must(t, err)
	if len(page) != 1 || page[0].Name != "alias/b" {
		t.Errorf("page %v", page)
	}
}
