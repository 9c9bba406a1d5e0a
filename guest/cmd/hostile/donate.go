package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/enclaves"
)

// started is what donate prints when its enclave runs.
type started struct{ CID uint64 }

// watched is what donate saw in the memory that it had donated.
type watched struct {
	Running donated // while the enclave ran
	Freed   donated // after its end, before the memory is unmapped
}

// heartbeatTimeout is how long the enclave may take to boot.
const heartbeatTimeout = 3 * time.Minute

// donate starts an enclave as nitro-cli does, and keeps its mapping of the memory.
func donate(eif string, size uint64, cpus int, needle string) (w watched, err error) {
	sys := enclaves.Linux{}
	image, err := os.Open(eif)
	if err != nil {
		return w, err
	}
	defer image.Close()
	st, err := image.Stat()
	if err != nil {
		return w, err
	}
	device, err := sys.OpenDevice()
	if err != nil {
		return w, err
	}
	defer device.Close()
	memory, err := enclaves.Allocate(sys, size)
	if err != nil {
		return w, err
	}
	defer memory.Close()
	vm, err := device.CreateVM()
	if err != nil {
		return w, err
	}
	defer vm.Close()
	offset, err := vm.ImageLoadInfo(enclaves.EIFImage)
	if err != nil {
		return w, err
	}
	if err := memory.WriteImage(image, st.Size(), offset); err != nil {
		return w, err
	}
	if err := memory.Donate(vm); err != nil {
		return w, err
	}
	for range cpus {
		if _, err := vm.AddVCPU(0); err != nil {
			return w, err
		}
	}
	l, err := vsock.Listen(ports.Heartbeat, nil)
	if err != nil {
		return w, err
	}
	defer l.Close()
	info, err := vm.Start(enclaves.StartInfo{})
	if err != nil {
		return w, err
	}
	if err := answerHeartbeat(l); err != nil {
		return w, fmt.Errorf("heartbeat: %w", err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(started{info.CID}); err != nil {
		return w, err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return w, err
	}
	if w.Running, err = readDonated(os.Getpid(), needle); err != nil {
		return w, err
	}
	if err := vm.Close(); err != nil {
		return w, err
	}
	w.Freed, err = readDonated(os.Getpid(), needle)
	return w, err
}

// answerHeartbeat plays nitro-cli's part.
func answerHeartbeat(l net.Listener) (err error) {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
		if err := d.SetDeadline(time.Now().Add(heartbeatTimeout)); err != nil {
			return err
		}
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	_, err = c.Write(b[:])
	return err
}
