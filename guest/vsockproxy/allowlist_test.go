package vsockproxy_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

// names is a resolver over a table. It notes who was asked for.
type names struct {
	table map[string][]string

	mu    sync.Mutex // protects asked
	asked []string
}

func (n *names) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.asked = append(n.asked, network+" "+host)
	n.mu.Unlock()
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	texts, ok := n.table[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var addrs []netip.Addr
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs, nil
}

func TestCheck(t *testing.T) {
	table := map[string][]string{
		"kms":      {"fd00::1", "192.0.2.1", "192.0.2.2"},
		"alias":    {"192.0.2.9", "192.0.2.1"},
		"second":   {"192.0.2.2"},
		"other":    {"192.0.2.7"},
		"mapped":   {"::ffff:192.0.2.1"},
		"six":      {"fd00::1"},
		"upstairs": {},
	}
	list := func(endpoints ...vsockproxy.Endpoint) vsockproxy.Allowlist { return endpoints }
	kms := vsockproxy.Endpoint{Host: "kms", Port: 443}
	tests := []struct {
		name   string
		list   vsockproxy.Allowlist
		family vsockproxy.Family
		e      vsockproxy.Endpoint
		want   string // in the error; empty for allowed
	}{
		{"listed", list(vsockproxy.Endpoint{Host: "other", Port: 443}, kms), 0, kms, ""},
		{"nothing listed", nil, 0, kms, "kms port 443 is not in the allowlist"},
		{"another port", list(vsockproxy.Endpoint{Host: "kms", Port: 80}), 0, kms, "not in the allowlist"},
		{"another host", list(vsockproxy.Endpoint{Host: "other", Port: 443}), 0, kms, "not in the allowlist"},
		{"by an address among several", list(vsockproxy.Endpoint{Host: "alias", Port: 443}), 0, kms, ""},
		{"by an address in the list", list(vsockproxy.Endpoint{Host: "192.0.2.1", Port: 443}), 0, kms, ""},
		{"by an IPv4 address in IPv6", list(vsockproxy.Endpoint{Host: "mapped", Port: 443}), 0, kms, ""},
		{"by an address with another port", list(vsockproxy.Endpoint{Host: "alias", Port: 444}), 0, kms, "not in the allowlist"},
		// Only the first address counts, which is the one connected to first.
		{"by the second address", list(vsockproxy.Endpoint{Host: "second", Port: 443}), 0, kms, "not in the allowlist"},
		{"IPv6 first only if asked for", list(vsockproxy.Endpoint{Host: "six", Port: 443}), 0, kms, "not in the allowlist"},
		{"by its IPv6 address", list(vsockproxy.Endpoint{Host: "six", Port: 443}), vsockproxy.IPv6, kms, ""},
		{"no address of the family", list(vsockproxy.Endpoint{Host: "other", Port: 443}), vsockproxy.IPv6, vsockproxy.Endpoint{Host: "other", Port: 443}, "look up other: it has no IPv6 address"},
		{"listed, but does not resolve", list(vsockproxy.Endpoint{Host: "gone", Port: 443}), 0, vsockproxy.Endpoint{Host: "gone", Port: 443}, "look up gone"},
		{"listed, without an address", list(vsockproxy.Endpoint{Host: "upstairs", Port: 443}), 0, vsockproxy.Endpoint{Host: "upstairs", Port: 443}, "it has no IP address"},
		{"an entry that does not resolve", list(vsockproxy.Endpoint{Host: "gone", Port: 443}, vsockproxy.Endpoint{Host: "alias", Port: 443}), 0, kms, ""},
		{"another case", list(vsockproxy.Endpoint{Host: "KMS", Port: 443}), 0, kms, "not in the allowlist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := &names{table: table}
			err := tt.list.Check(t.Context(), n.resolve, tt.family, tt.e)
			switch {
			case tt.want == "":
				if err != nil {
					t.Error(err)
				}
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %v, want %q", err, tt.want)
			case strings.Contains(tt.want, "allowlist") != errors.Is(err, vsockproxy.ErrNotAllowed):
				t.Errorf("error %v is or is not ErrNotAllowed", err)
			}
		})
	}

	ctx, cancel := context.WithCancel(t.Context())
	n := &names{table: table}
	err := list(vsockproxy.Endpoint{Host: "other", Port: 443}, vsockproxy.Endpoint{Host: "alias", Port: 443}).Check(ctx,
		func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			if host == "other" {
				cancel()
			}
			return n.resolve(ctx, network, host)
		}, 0, kms)
	if !errors.Is(err, context.Canceled) || errors.Is(err, vsockproxy.ErrNotAllowed) {
		t.Errorf("when told to end: %v", err)
	}
}
