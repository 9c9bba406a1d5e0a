package policy

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// exact compares text.
func exact(equal func(a, b string) bool) func(string, bool) (test, error) {
	return func(text string, variables bool) (test, error) {
		t, err := newTemplate(text, variables)
		if err != nil {
			return nil, err
		}
		return func(value string, r *Request) bool {
			want, ok := t.expand(r)
			return ok && equal(want, value)
		}, nil
	}
}

// like compares text with wildcards.
func like(text string, variables bool) (test, error) {
	t, err := newTemplate(text, variables)
	if err != nil {
		return nil, err
	}
	return func(value string, r *Request) bool {
		want, ok := t.expandGlob(r)
		return ok && want.match(value)
	}, nil
}

// likeARN compares ARNs part by part: a wildcard does not reach across one of the
// first five colons. So a text with fewer parts, "*" too, is like no ARN.
func likeARN(text string, variables bool) (test, error) {
	t, err := newTemplate(text, variables)
	if err != nil {
		return nil, err
	}
	return func(value string, r *Request) bool {
		want, ok := t.expandGlob(r)
		return ok && matchARN(want, value)
	}, nil
}

// arnParts is how many parts an ARN has: arn, partition, service, region, account
// and resource, the last of which may contain colons.
const arnParts = 6

func matchARN(want pattern, value string) bool {
	parts := strings.SplitN(value, ":", arnParts)
	if len(parts) != arnParts {
		return false
	}
	for i, part := range parts {
		piece, end := want, -1
		if i < arnParts-1 {
			for j, r := range want {
				if r == ':' {
					end = j
					break
				}
			}
			if end < 0 {
				return false
			}
			piece = want[:end]
		}
		if !piece.match(part) {
			return false
		}
		want = want[end+1:]
	}
	return true
}

// boolean compares "true" and "false", whatever their case.
func boolean(text string, _ bool) (test, error) {
	if !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
		return nil, fmt.Errorf("value is %s; allowed are true and false", quote(text))
	}
	return func(value string, _ *Request) bool { return strings.EqualFold(text, value) }, nil
}

// binary compares bytes, which both sides have as base64.
func binary(text string, _ bool) (test, error) {
	want, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("value is %s; allowed is base64", quote(text))
	}
	return func(value string, _ *Request) bool {
		got, err := base64.StdEncoding.DecodeString(value)
		return err == nil && bytes.Equal(got, want)
	}, nil
}

// decimal bounds numbers: big.Rat would turn an exponent into as many digits.
var decimal = regexp.MustCompile(`^[+-]?[0-9]{1,40}(\.[0-9]{1,40})?$`)

func parseNumber(text string) (*big.Rat, bool) {
	if !decimal.MatchString(text) {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

// number compares decimal numbers exactly; holds gets the order of the request's
// value against the condition's.
func number(holds func(order int) bool) func(string, bool) (test, error) {
	return func(text string, _ bool) (test, error) {
		want, ok := parseNumber(text)
		if !ok {
			return nil, fmt.Errorf("value is %s; allowed are decimal numbers", quote(text))
		}
		return func(value string, _ *Request) bool {
			got, ok := parseNumber(value)
			return ok && holds(got.Cmp(want))
		}, nil
	}
}

// dateForms are those of W3C's note on ISO 8601, which the IAM user guide names.
var dateForms = []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01", "2006"}

// parseDate reads a date, or seconds since 1970. Four digits are a year.
func parseDate(text string) (time.Time, bool) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
	}
	if len(text) > 12 {
		return time.Time{}, false
	}
	seconds, ok := parseNumber(text)
	if !ok || !seconds.IsInt() {
		return time.Time{}, false
	}
	return time.Unix(seconds.Num().Int64(), 0), true
}

// date compares moments.
func date(holds func(order int) bool) func(string, bool) (test, error) {
	return func(text string, _ bool) (test, error) {
		want, ok := parseDate(text)
		if !ok {
			return nil, fmt.Errorf("value is %s; allowed are dates such as 2026-11-24T10:00:00Z and seconds since 1970", quote(text))
		}
		return func(value string, _ *Request) bool {
			got, ok := parseDate(value)
			return ok && holds(got.Compare(want))
		}, nil
	}
}

// address compares an IP address with an address or a range (CIDR, RFC 4632), the
// host bits of which do not count.
func address(text string, _ bool) (test, error) {
	want, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("value is %s; allowed are addresses and ranges such as 203.0.113.0/24", quote(text))
		}
		want = netip.PrefixFrom(a, a.BitLen())
	}
	return func(value string, _ *Request) bool {
		got, err := netip.ParseAddr(value)
		return err == nil && want.Contains(got.Unmap().WithZone(""))
	}, nil
}
