package vsockproxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// A Family says which addresses of a name count.
type Family int

// The families. With Any, IPv4 goes first.
const (
	Any Family = iota
	IPv4
	IPv6
)

// String is the name of the family.
func (f Family) String() string {
	switch f {
	case Any:
		return "IP"
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return fmt.Sprintf("Family(%d)", int(f))
}

// network is the family for a Resolver.
func (f Family) network() string {
	switch f {
	case IPv4:
		return "ip4"
	case IPv6:
		return "ip6"
	}
	return "ip"
}

// has reports whether addr counts.
func (f Family) has(addr netip.Addr) bool {
	return f == Any || f == IPv4 && addr.Is4() || f == IPv6 && addr.Is6()
}

// lookup returns the addresses of host in the order in which to try them, at least
// one and at most maxAddresses.
func lookup(ctx context.Context, resolve Resolver, family Family, host string) ([]netip.Addr, error) {
	found, err := resolve(ctx, family.network(), host)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	addrs := make([]netip.Addr, 0, len(found))
	for _, addr := range found {
		if addr = addr.Unmap(); family.has(addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("look up %s: it has no %v address", host, family)
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return addrs[:min(len(addrs), maxAddresses)], nil
}
