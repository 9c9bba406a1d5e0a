package vsockproxy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

func TestParseAllowlist(t *testing.T) {
	kms := vsockproxy.Endpoint{Host: "kms.us-east-1.amazonaws.com", Port: 443}
	tests := []struct {
		name, text string
		want       vsockproxy.Allowlist
	}{
		{"as AWS ships it", "allowlist:\n- {address: kms.us-east-1.amazonaws.com, port: 443}\n- {address: kms-fips.us-east-1.amazonaws.com, port: 443}\n",
			vsockproxy.Allowlist{kms, {Host: "kms-fips.us-east-1.amazonaws.com", Port: 443}}},
		{"names below each other", "allowlist:\n  - address: kms.us-east-1.amazonaws.com\n    port: 443\n  - port: 80\n    address: 127.0.0.1\n",
			vsockproxy.Allowlist{kms, {Host: "127.0.0.1", Port: 80}}},
		{"both", "allowlist:\n- address: a\n  port: 1\n- {port: 2, address: b}\n- address: c\n  port: 3\n",
			vsockproxy.Allowlist{{Host: "a", Port: 1}, {Host: "b", Port: 2}, {Host: "c", Port: 3}}},
		{"comments, quotes, blank lines and the end of lines of Windows",
			"---\r\n# services\r\nallowlist: # of the parent\r\n\r\n- {address: \"kms.us-east-1.amazonaws.com\", port: 443} # key service\r\n  # more\r\n- address: '::1' # IPv6\r\n  port: 443   # TLS\r\n",
			vsockproxy.Allowlist{kms, {Host: "::1", Port: 443}}},
		{"no end of line", "allowlist:\n- {address: a, port: 65535}", vsockproxy.Allowlist{{Host: "a", Port: 65535}}},
		{"spaces", "allowlist:   \n-   {  address:  a ,  port:  1  }\n-    address:   b\n     port:   2\n", vsockproxy.Allowlist{{Host: "a", Port: 1}, {Host: "b", Port: 2}}},
		{"nothing allowed", "allowlist:\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := vsockproxy.ParseAllowlist(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("allowlist (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseAllowlistRefuses(t *testing.T) {
	const head = "allowlist:\n"
	tests := []struct{ name, text, want string }{
		{"empty", "", "allowlist: `allowlist` is missing"},
		{"comments only", "# nothing\n", "`allowlist` is missing"},
		{"another name", "denylist:\n", "line 1: \"denylist:\"; allowed is `allowlist:`"},
		{"indented", " allowlist:\n", "line 1"},
		{"sequence in the line", "allowlist: [{address: a, port: 1}]\n", "line 1"},
		{"a second mapping", head + "- {address: a, port: 1}\nother: 1\n", "line 3: \"other: 1\"; allowed is an entry"},
		{"twice", head + head, "line 2"},
		{"two documents", head + "---\n", "line 2"},
		{"no mapping", head + "- a\n", "line 2: \"a\"; allowed are `address: NAME` and `port: NUMBER`"},
		{"no space", head + "- {address:a, port:1}\n", "line 2: \"address:a\""},
		{"no entry", head + "-\n", "line 2"},
		{"open braces", head + "- {address: a, port: 1\n", "line 2: \"- {address: a, port: 1\"; an entry in braces ends with `}`"},
		{"behind the braces", head + "- {address: a, port: 1} {\n", "line 2"},
		{"empty braces", head + "- {}\n", "line 2"},
		{"comma at the end", head + "- {address: a, port: 1,}\n", "line 2: \"\""},
		{"no port", head + "- {address: a}\n- {address: b, port: 1}\n", "line 2: `port` is missing"},
		{"no address", head + "- port: 1\n", "line 2: `address` is missing"},
		{"port twice", head + "- {address: a, port: 1, port: 2}\n", "line 2: `port` comes twice"},
		{"address twice", head + "- address: a\n  address: b\n", "line 3: `address` comes twice"},
		{"another member", head + "- {address: a, port: 1, protocol: tcp}\n", "line 2: \"protocol\"; allowed are `address` and `port`"},
		{"port 0", head + "- {address: a, port: 0}\n", "line 2: `port` is \"0\"; allowed are 1 to 65535"},
		// AWS's program takes this one for 443.
		{"port above 16 bits", head + "- {address: a, port: 65979}\n", "`port` is \"65979\""},
		{"negative port", head + "- {address: a, port: -1}\n", "`port` is \"-1\""},
		{"octal port", head + "- {address: a, port: 0443}\n", "`port` is \"0443\""},
		{"port in quotes", head + "- {address: a, port: \"443\"}\n", "`port` is \"443\""},
		{"empty port", head + "- address: a\n  port: \"\"\n", "`port` is \"\""},
		{"no value", head + "- address: a\n  port: \n", "line 3"},
		{"no address in the value", head + "- {address: \"\", port: 1}\n", "`address` is \"\""},
		{"anchor", head + "- {address: &a b, port: 1}\n", "`address` is \"&a b\""},
		{"wildcard", head + "- {address: *.amazonaws.com, port: 1}\n", "`address` is \"*.amazonaws.com\""},
		{"long address", head + "- {address: " + strings.Repeat("a", 254) + ", port: 1}\n", "`address` is \"aaa"},
		{"quote without end", head + "- address: \"a\n  port: 1\n", "line 2: \"a; the quote"},
		{"behind a quote", head + "- address: \"a\"b\n  port: 1\n", "line 2"},
		{"tab", head + "-\t{address: a, port: 1}\n", "line 2: a tab"},
		{"names not below each other", head + "- address: a\n   port: 1\n", "line 3"},
		{"names below the dash", head + "- address: a\nport: 1\n", "line 3"},
		{"dash not below the dash", head + "- {address: a, port: 1}\n  - {address: b, port: 1}\n", "line 3: the dash is not below"},
		{"too many", head + strings.Repeat("- {address: a, port: 1}\n", 1025), "line 1026: more than 1024 entries"},
		{"too long", head + strings.Repeat("#", vsockproxy.MaxAllowlist), "the file has more than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := vsockproxy.ParseAllowlist(tt.text)
			var typed *vsockproxy.AllowlistError
			if !errors.As(err, &typed) || !strings.Contains(fmt.Sprint(err), tt.want) || got != nil {
				t.Errorf("ParseAllowlist = %v, %v; want %q", got, err, tt.want)
			}
			if text := fmt.Sprint(err); len(text) > 300 {
				t.Errorf("the error has %d characters", len(text))
			}
		})
	}
}

// Whatever is accepted means the same when it is written in AWS's way.
func FuzzParseAllowlist(f *testing.F) {
	f.Add("allowlist:\n- {address: kms.us-east-1.amazonaws.com, port: 443}\n")
	f.Add("---\nallowlist: # x\n  - address: '::1'\n    port: 443\n  - port: 1 # y\n    address: \"a\"\n")
	f.Add("allowlist:\n- address: a\n  port: 65979\n")
	f.Add("allowlist:\n- {address: \"a, port: 1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := vsockproxy.ParseAllowlist(text)
		if err != nil {
			var typed *vsockproxy.AllowlistError
			if !errors.As(err, &typed) {
				t.Errorf("error %T", err)
			}
			return
		}
		var b strings.Builder
		b.WriteString("allowlist:\n")
		for _, e := range list {
			fmt.Fprintf(&b, "- {address: %s, port: %d}\n", e.Host, e.Port)
		}
		again, err := vsockproxy.ParseAllowlist(b.String())
		if err != nil && b.Len() <= vsockproxy.MaxAllowlist {
			t.Fatalf("%q becomes %q: %v", text, b.String(), err)
		}
		if diff := cmp.Diff(list, again); err == nil && diff != "" {
			t.Errorf("%q (-first +again):\n%s", text, diff)
		}
	})
}
