package vsockproxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// AllowlistPath is where the allowlist is unless --config says otherwise.
const AllowlistPath = "/etc/nitro_enclaves/vsock-proxy.yaml"

// ErrNotAllowed says that the allowlist has no entry for the service.
var ErrNotAllowed = errors.New("not in the allowlist")

// An Endpoint is a TCP service.
type Endpoint struct {
	Host string // name or address, as in the allowlist
	Port uint16
}

// String is host and port.
func (e Endpoint) String() string { return fmt.Sprintf("%s port %d", e.Host, e.Port) }

// An Allowlist is the services that a proxy may connect to.
type Allowlist []Endpoint

// A Resolver finds the addresses of a name, or parses an address. It is
// (*net.Resolver).LookupNetIP: network is "ip", "ip4" or "ip6".
type Resolver func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Check returns nil if an entry has the port of e and either its host, letter by
// letter, or a host with the first address of e's host. The error is ErrNotAllowed,
// or that of looking up the host of e, which has to have an address even if it is
// listed. What an entry's name resolves to is only asked if it matters, and an entry
// whose name does not resolve does not match.
func (a Allowlist) Check(ctx context.Context, resolve Resolver, family Family, e Endpoint) error {
	addrs, err := lookup(ctx, resolve, family, e.Host)
	if err != nil {
		return err
	}
	if slices.Contains(a, e) {
		return nil
	}
	for _, allowed := range a {
		if allowed.Port != e.Port {
			continue
		}
		others, err := lookup(ctx, resolve, family, allowed.Host)
		if err == nil && slices.Contains(others, addrs[0]) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("check the allowlist: %w", context.Cause(ctx))
		}
	}
	return fmt.Errorf("%v is %w", e, ErrNotAllowed)
}
