// Package linklocal gives an instance without a network the services that an
// instance of EC2 finds at fixed addresses. It puts the addresses of package
// endpoints on the loopback interface, listens there, and carries what comes over
// vsock to the Host, where the services are:
//
//	169.254.169.254:80       TCP      port ports.IMDS of CID 2
//	169.254.169.253:53       TCP, UDP port ports.DNS
//	172.31.255.250:443       TCP      port ports.AWS
//
// Nothing is looked at on the way but the length of DNS messages: UDP has it from
// the datagram, and on vsock each is preceded by two bytes (RFC 1035 section 4.2.2).
// TLS is between the program in the instance, or in an enclave, and the Host.
//
// It needs the kernel's vsock driver when somebody connects and not before, so it
// can start before an instance's snapshot is made, and works in each clone.
package linklocal
