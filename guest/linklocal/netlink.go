package linklocal

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// loopbackIndex is the index of lo in every network namespace (LOOPBACK_IFINDEX in
// include/net/flow.h of Linux).
const loopbackIndex = 1

// newAddress is the request that gives lo an IPv4 address, alone and for this
// machine only (rtnetlink(7), RTM_NEWADDR): a nlmsghdr, an ifaddrmsg and two
// attributes of 8 bytes.
func newAddress(seq uint32, a netip.Addr) []byte {
	const attributes = 2 * (unix.SizeofRtAttr + 4)
	const size = unix.SizeofNlMsghdr + unix.SizeofIfAddrmsg + attributes
	order := binary.NativeEndian
	b := make([]byte, 0, size)
	// nlmsghdr
	b = order.AppendUint32(b, size)
	b = order.AppendUint16(b, unix.RTM_NEWADDR)
	b = order.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b = order.AppendUint32(b, seq)
	b = order.AppendUint32(b, 0) // port id, which the kernel fills in
	// ifaddrmsg: family, prefix length, flags, scope, interface
	b = append(b, unix.AF_INET, 32, unix.IFA_F_PERMANENT, unix.RT_SCOPE_HOST)
	b = order.AppendUint32(b, loopbackIndex)
	for _, kind := range []uint16{unix.IFA_LOCAL, unix.IFA_ADDRESS} {
		ip := a.As4()
		b = order.AppendUint16(b, unix.SizeofRtAttr+4)
		b = order.AppendUint16(b, kind)
		b = append(b, ip[:]...)
	}
	return b
}

var errAnswer = errors.New("not an answer of netlink")

// ackOf reads the kernel's answer to the request with a number: nil, or the errno
// that says why not (netlink(7), NLMSG_ERROR).
func ackOf(b []byte, seq uint32) error {
	order := binary.NativeEndian
	if len(b) < unix.SizeofNlMsghdr+4 || order.Uint16(b[4:]) != unix.NLMSG_ERROR || order.Uint32(b[8:]) != seq {
		return errAnswer
	}
	code := int32(order.Uint32(b[unix.SizeofNlMsghdr:]))
	switch {
	case code == 0:
		return nil
	case code > 0 || code < -4095: // MAX_ERRNO
		return errAnswer
	}
	return unix.Errno(-code)
}
