// Package endpoints holds the addresses at which a parent instance finds the
// services of its Host. It is apart from package linklocal so that both ends can
// have them: the guest listens there, the Host's DNS gives one of them out.
package endpoints

import "net/netip"

// The addresses. All are the instance's own, on its loopback interface: the
// instance has no network, and what is sent there goes to the Host over vsock.
var (
	// IMDS is the instance metadata service: HTTP at port 80 (Amazon EC2 User
	// Guide, "Access instance metadata for an EC2 instance").
	IMDS = netip.AddrFrom4([4]byte{169, 254, 169, 254})

	// DNS is the resolver of every VPC, at port 53 (Amazon VPC User Guide, "DNS
	// attributes for your VPC").
	DNS = netip.AddrFrom4([4]byte{169, 254, 169, 253})

	// Services is what the Host's DNS answers for the services of AWS that it
	// emulates: TLS at port 443. In AWS it would be an interface endpoint of the
	// VPC, so it is an address of the default VPC's 172.31.0.0/16.
	Services = netip.AddrFrom4([4]byte{172, 31, 255, 250})
)

// Ports of the services, as the instance's programs see them. Those of vsock, to
// which they lead, are in package ports.
const (
	IMDSPort     = 80
	DNSPort      = 53 // UDP and TCP
	ServicesPort = 443
)
