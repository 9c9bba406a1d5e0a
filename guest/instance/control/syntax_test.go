package control

import (
	"strings"
	"testing"
)

func TestSyntax(t *testing.T) {
	tests := []struct {
		name string
		is   func(string) bool
		good []string
		bad  []string
	}{
		{"word", isWord,
			[]string{"a", "6.12.117+deb13-cloud-amd64", "i-0123", "us-east-1a", "m5.xlarge", "a_b~c:d", strings.Repeat("a", 64)},
			[]string{"", "-a", ".a", "a b", "a/b", "a\n", "a\x1b", "\"", "ä", "a$", "a`", strings.Repeat("a", 65)}},
		{"label", isLabel,
			[]string{"a", "0", "a-b", "A1", strings.Repeat("a", 63)},
			[]string{"", "-", "-a", "a-", "a_b", "a.b", strings.Repeat("a", 64)}},
		{"PCI id", isPCIID, []string{"1d0f:e4c1"}, []string{"", "1d0f", "1d0f:e4c", "1D0F:E4C1", "1d0f-e4c1", "1d0f:e4c1\n", "xxxx:xxxx"}},
		{"UUID", isUUID, []string{goodReady.BootID}, []string{"", strings.ToUpper(goodReady.BootID), goodReady.BootID + "0"}},
		{"BDF", isBDF,
			[]string{"0000:01:00.0", "10000:01:1f.7"},
			[]string{"", "01:00.0", "0000:01:00.8", "0000:01:00", "000:01:00.0", "123456789:01:00.0", "0000:01:00.a", "0000:01:00.0/"}},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if !tt.is(s) {
				t.Errorf("%q is no %s", s, tt.name)
			}
		}
		for _, s := range tt.bad {
			if tt.is(s) {
				t.Errorf("%q is a %s", s, tt.name)
			}
		}
	}
}
