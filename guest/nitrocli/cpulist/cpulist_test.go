package cpulist

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		want []uint32
		err  error
	}{
		{text: ""},
		{text: " \n"},
		{text: "0", want: []uint32{0}},
		{text: "1-3,4-6,7-9", want: []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{text: "1-4,7\n", want: []uint32{1, 2, 3, 4, 7}},
		{text: "3, 1 ,3", want: []uint32{3, 1, 3}},
		{text: "\t3", want: []uint32{3}},
		{text: "5-3"},
		{text: "65535", want: []uint32{Max}},
		{text: "65536", err: ErrRange},
		{text: "0-4294967295", err: ErrRange},
		{text: "0-65535,0-65535,1", err: ErrRange},
		{text: "0-3-7", err: ErrRange},
		{text: "3+5,7-10", err: ErrNumber},
		{text: "3-a,7-b", err: ErrNumber},
		{text: "-2", err: ErrNumber},
		{text: "2-", err: ErrNumber},
		{text: "1,,2", err: ErrNumber},
		{text: ",", err: ErrNumber},
		{text: "0x06", err: ErrNumber},
		{text: "+1", err: ErrNumber},
		{text: "4294967296", err: ErrNumber},
	}
	for _, tt := range tests {
		got, err := Parse(tt.text)
		if !errors.Is(err, tt.err) {
			t.Errorf("%q: error %v, want %v", tt.text, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestFormat(t *testing.T) {
	tests := []struct {
		list []uint32
		want string
	}{
		{nil, ""},
		{[]uint32{7}, "7"},
		{[]uint32{2, 3}, "2-3"},
		{[]uint32{9, 3, 2, 6, 7, 8, 2}, "2-3,6-9"},
		{[]uint32{1, 3, 5}, "1,3,5"},
	}
	for _, tt := range tests {
		if got := Format(tt.list); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.list, got, tt.want)
		}
	}
}

// FuzzParse reads any list. What it accepts is bounded, and survives Format.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "0", "1-3,7", "0-65535", "0-4294967295", "5-3", "1,,2", "0-3-7", " 2 , 3\n", "-", "18446744073709551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse(text)
		if err != nil {
			if list != nil {
				t.Fatalf("%q: list %v and error %v", text, list, err)
			}
			if !errors.Is(err, ErrNumber) && !errors.Is(err, ErrRange) {
				t.Fatalf("%q: error %v is of no kind", text, err)
			}
			return
		}
		if len(list) > 2*(Max+1) {
			t.Fatalf("%q: %d numbers", text, len(list))
		}
		again, err := Parse(Format(list))
		if err != nil {
			t.Fatalf("%q: formatted as %q: %v", text, Format(list), err)
		}
		if want := slices.Compact(slices.Sorted(slices.Values(list))); !slices.Equal(want, again) {
			t.Fatalf("%q: formatted as %q", text, Format(list))
		}
	})
}
