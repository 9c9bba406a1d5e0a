package instance

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The form is that of the file which AWS ships: one host a line, each once.
func TestProxyConfig(t *testing.T) {
	lines := strings.Split(proxyConfig(), "\n")
	if lines[0] != "allowlist:" || lines[len(lines)-1] != "" || len(lines) != 2+2*len(kmsRegions) {
		t.Fatalf("%d lines, first %q, last %q", len(lines), lines[0], lines[len(lines)-1])
	}
	hosts := lines[1 : len(lines)-1]
	form := regexp.MustCompile(`^- \{address: kms(-fips)?\.[a-z]{2}(-[a-z]+)+-[0-9]\.amazonaws\.com(\.cn)?, port: 443\}$`)
	for _, line := range hosts {
		if !form.MatchString(line) {
			t.Errorf("line %q", line)
		}
	}
	for _, want := range []string{
		"- {address: kms.us-east-1.amazonaws.com, port: 443}", "- {address: kms-fips.us-gov-west-1.amazonaws.com, port: 443}",
		"- {address: kms.cn-north-1.amazonaws.com.cn, port: 443}",
	} {
		if !slices.Contains(hosts, want) {
			t.Errorf("no line %q", want)
		}
	}
	slices.Sort(hosts)
	if n := len(slices.Compact(hosts)); n != 2*len(kmsRegions) {
		t.Errorf("%d different lines of %d", n, 2*len(kmsRegions))
	}
}
