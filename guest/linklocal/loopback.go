package linklocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/internal/pid1"
)

// loopback is the interface lo of the real kernel.
type loopback struct{}

func (loopback) Listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp4", at.String())
}

func (loopback) ListenPacket(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, "udp4", at.String())
}

func (loopback) AddAddresses(addrs ...netip.Addr) (err error) {
	if err := pid1.LoopbackUp(); err != nil {
		return fmt.Errorf("bring up loopback: %w", err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	for i, a := range addrs {
		if err := addAddress(fd, uint32(i+1), a); err != nil {
			return fmt.Errorf("add address %v: %w", a, err)
		}
	}
	return nil
}

// addAddress sends one request and reads the answer, which the kernel has made
// before sendto returns (net/netlink/af_netlink.c, netlink_rcv_skb): there is
// nothing to wait for. An address that is there is no error.
func addAddress(fd int, seq uint32, a netip.Addr) error {
	if err := unix.Sendto(fd, newAddress(seq, a), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	if err := ackOf(buf[:n], seq); err != unix.EEXIST {
		return err
	}
	return nil
}
