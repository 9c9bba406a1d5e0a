package boot

import (
	"fmt"
	"runtime"
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
	// The kernel's own limit for a connection is 2 s, which a parent on a busy
	// host may need; and the first one that the parent takes is the one that counts
	// (nitro-cli, eif_loader/src/lib.rs).
	if err := unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv); err != nil {
		return fmt.Errorf("set connect timeout: %w", err)
	}
	addr := &unix.SockaddrVM{CID: parentCID, Port: ports.Heartbeat}
	if err := uninterrupted(func() error { return unix.Connect(fd, addr) }); err != nil {
		return fmt.Errorf("connect to CID %d port %d: %w", addr.CID, addr.Port, err)
	}
	return exchangeHeartbeat(fd)
}

// uninterrupted runs a system call that must not be begun again after a signal: an
// interrupted connect of a vsock socket resets the connection, which the parent may
// have taken. The Go runtime signals its own threads to preempt them.
func uninterrupted(call func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	err := call()
	if maskErr := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err == nil {
		err = maskErr
	}
	return err
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
