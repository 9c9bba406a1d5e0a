package text

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Name  string            `json:"name"`
	Count int               `json:"count"`
	Pairs map[string]string `json:"pairs,omitempty"`
}

func TestDecode(t *testing.T) {
	const secret = "hunter2"
	tests := []struct {
		name, text string
		want       sample
		err        error
	}{
		{"everything", `{"name":"a","count":3,"pairs":{"x":"y"}}`, sample{"a", 3, map[string]string{"x": "y"}}, nil},
		{"nothing in it", "{}", sample{}, nil},
		{"space around it", " \r\n\t{} \n", sample{}, nil},
		{"empty", "", sample{}, ErrJSON},
		{"space", " ", sample{}, ErrJSON},
		{"null", "null", sample{}, ErrJSON},
		{"list", `["` + secret + `"]`, sample{}, ErrJSON},
		{"string", `"` + secret + `"`, sample{}, ErrJSON},
		{"cut off", `{"name":"` + secret, sample{}, ErrJSON},
		{"unknown member", `{"` + secret + `":1}`, sample{}, ErrJSON},
		{"wrong type", `{"count":"` + secret + `"}`, sample{}, ErrJSON},
		{"number too large", `{"count":1e30}`, sample{}, ErrJSON},
		{"deeply nested", `{"pairs":` + strings.Repeat(`{"a":`, 20000), sample{}, ErrJSON},
		{"another object", `{}{"name":"` + secret + `"}`, sample{}, ErrTrailing},
		{"garbage behind it", `{}` + secret, sample{}, ErrTrailing},
		{"a zero byte behind it", "{}\x00", sample{}, ErrTrailing},
	}
	for _, tt := range tests {
		var got sample
		err := Decode([]byte(tt.text), &got)
		if !errors.Is(err, tt.err) || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		if err == nil {
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"two\nlines":                 "two?lines",
		"\x1b[31mred\x1b[0m":         "?[31mred?[0m",
		"größe 模":                    "größe 模",
		"\xff\u202e\u200b\r\a\u0085": "\ufffd?????",
	} {
		if got := Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"{}", `{"name":"a","count":3,"pairs":{"x":"y"}}`, "null", `{"name":"a"}}`, `{"Name":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got sample
		if Decode(b, &got) != nil {
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var same sample
		if err := Decode(again, &same); err != nil || same.Name != got.Name || same.Count != got.Count || len(same.Pairs) != len(got.Pairs) {
			t.Errorf("%q is %+v, which is %q, which is %+v, %v", b, got, again, same, err)
		}
		for _, r := range Printable(got.Name) {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is not printable", r)
			}
		}
	})
}
