package boot

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
)

// heartbeatTimeout bounds the wait for the parent's echo. The parent gives an
// enclave at least 180 s to start (nitro-cli, calculate_necessary_timeout); a
// parent that took the connection and is silent for half of it is broken, and
// an enclave that says so is better than one that hangs.
const heartbeatTimeout = 90 * time.Second

// parentCID is the parent instance, as AWS documents it.
const parentCID = 3

func (linux) Heartbeat() error {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open vsock: %w", err)
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(heartbeatTimeout.Nanoseconds())
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv); err != nil {
			return fmt.Errorf("set timeout: %w", err)
		}
	}
	addr := &unix.SockaddrVM{CID: parentCID, Port: ports.Heartbeat}
	if err := unix.Connect(fd, addr); err != nil {
		return fmt.Errorf("connect to CID %d port %d: %w", addr.CID, addr.Port, err)
	}
	return exchangeHeartbeat(fd)
}

// exchangeHeartbeat sends the byte and expects it back, over any stream socket.
func exchangeHeartbeat(fd int) error {
	b := []byte{ports.HeartbeatByte}
	if err := retry(func() (int, error) { return unix.Write(fd, b) }); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	b[0] = 0
	if err := retry(func() (int, error) { return unix.Read(fd, b) }); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if b[0] != ports.HeartbeatByte {
		return fmt.Errorf("received %#02x instead of %#02x", b[0], ports.HeartbeatByte)
	}
	return nil
}

// retry does a one-byte transfer and again after a signal: the Go runtime
// interrupts its own threads to preempt them.
func retry(transfer func() (int, error)) error {
	for {
		n, err := transfer()
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n != 1:
			return fmt.Errorf("connection closed")
		}
		return nil
	}
}
