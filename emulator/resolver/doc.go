// Package resolver is the DNS of an emulated VPC: it answers what the Host knows
// and nothing else, over streams (RFC 1035 section 4.2.2, RFC 7766), because an
// instance reaches its Host over vsock. The instance's end, which takes UDP as
// well, is package guest/linklocal.
//
// It is a resolver as its clients see it, recursion included, but it asks nobody:
// a name that the Host does not know does not exist.
package resolver
