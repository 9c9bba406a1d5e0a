package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/images/eif"
)

// A hypervisor starts the enclaves of an instance, for its Nitro Enclaves device.
// It alone sees the instance's RAM.
type hypervisor struct{ instance *Instance }

var _ enclaves.Hypervisor = hypervisor{}

// HasRAM implements [enclaves.Hypervisor].
func (h hypervisor) HasRAM(r enclaves.Region) bool { return h.instance.ram.Contains(r.Addr, r.Size) }

// Scrub implements [enclaves.Hypervisor].
func (h hypervisor) Scrub(regions []enclaves.Region) error {
	var errs []error
	for _, r := range regions {
		errs = append(errs, h.instance.ram.Scrub(r.Addr, r.Size))
	}
	return errors.Join(errs...)
}

// Launch implements [enclaves.Hypervisor]: the image is copied out of the donated
// memory first, so that the instance cannot change it any more, then checked and
// measured; the donated pages are taken from the instance, and the enclave starts
// with as much memory of its own.
func (h hypervisor) Launch(ctx context.Context, launch enclaves.LaunchConfig) (enclaves.Enclave, error) {
	e, err := h.launch(ctx, launch)
	if err != nil {
		return nil, withErrno(err)
	}
	return e, nil
}

func (h hypervisor) launch(ctx context.Context, launch enclaves.LaunchConfig) (_ enclaves.Enclave, err error) {
	i := h.instance
	var total uint64
	for _, r := range launch.Memory {
		total += r.Size // the device has checked that this is RAM, and no byte twice
	}
	path, err := h.copyOut(ctx, launch.Memory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	cfg := EnclaveConfig{
		EIFPath:   path,
		Name:      fmt.Sprintf("enclave-%x", launch.SlotUID),
		MemoryMiB: int(total >> 20),
		CPUs:      len(launch.CPUs),
		CID:       launch.CID,
		Debug:     launch.Debug,
		// Who started it in the instance looks after it, as on EC2.
		HangTimeout: -1,
		checked:     func() error { return h.take(launch.Memory) },
	}
	for _, id := range launch.CPUs {
		cfg.CPUIDs = append(cfg.CPUIDs, int(id))
	}
	stop := func() error { return nil }
	if i.host.cfg.Weaken.Off(weaken.ScrubOnFree) {
		if cfg.ram, err = guestmem.NewRAM(total, min(total, 1<<32)); err != nil {
			return nil, err
		}
		stop = func() error { return h.leave(cfg.ram, launch.Memory) }
	}
	e, err := i.host.start(ctx, i.parent, launch.SlotUID, cfg)
	if err != nil {
		if cfg.ram != nil {
			err = errors.Join(err, cfg.ram.Close())
		}
		return nil, err
	}
	return &launched{Enclave: e, stopped: stop}, nil
}

// leave puts the memory of an enclave that has ended where it is on hardware, in
// the donated pages: without the scrubbing of these the instance would see it.
func (h hypervisor) leave(ram *guestmem.RAM, memory []enclaves.Region) (err error) {
	defer func() { err = errors.Join(err, ram.Close()) }()
	offset := int64(0)
	for _, r := range memory {
		to := io.NewOffsetWriter(h.instance.ram, int64(r.Addr))
		if _, err := io.Copy(to, io.NewSectionReader(ram.File(), offset, int64(r.Size))); err != nil {
			return fmt.Errorf("leave the enclave's memory to the instance: %w", err)
		}
		offset += int64(r.Size)
	}
	return nil
}

// take takes donated memory from the instance: it reads zeros there from now on.
func (h hypervisor) take(memory []enclaves.Region) error {
	if h.instance.host.cfg.Weaken.Off(weaken.ScrubDonated) {
		return nil
	}
	return h.Scrub(memory)
}

// copyOut writes the image in donated memory to a file of the instance's folder.
func (h hypervisor) copyOut(ctx context.Context, memory []enclaves.Region) (_ string, err error) {
	r, size := enclaves.ImageReader(h.instance.ram, memory)
	// Nobody says how long the image is but itself. What it says is not believed
	// beyond the donated memory, and looked at again in the copy.
	im, err := eif.OpenPrefix(r, size)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(h.instance.dir, "donated-*.eif")
	if err != nil {
		return "", fmt.Errorf("copy the image out of donated memory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, io.NewSectionReader(cancelReader{ctx, r}, 0, im.Size()))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("copy the image out of donated memory: %w", err)
	}
	return f.Name(), nil
}

// withErrno gives an error the number that the driver hands to its caller. What
// real hardware answers is not documented (parent-devices.md section 7).
func withErrno(err error) error {
	var errno syscall.Errno
	var request *RequestError
	var format *eif.FormatError
	switch {
	case errors.As(err, &errno):
		return err
	case errors.As(err, &request) && request.Field == "enclave CID":
		errno = syscall.EADDRINUSE
	case errors.As(err, &request) && request.Field == "memory":
		errno = syscall.ENOMEM
	case errors.As(err, &request), errors.As(err, &format):
		errno = syscall.EINVAL
	default:
		errno = syscall.EIO
	}
	return fmt.Errorf("%w: %w", errno, err)
}

// launched is an [Enclave] as its device sees it.
type launched struct {
	*Enclave
	once    sync.Once
	stopped func() error // what follows its end
	err     error
}

// Stop implements [enclaves.Enclave].
func (l *launched) Stop() error {
	l.once.Do(func() { l.err = errors.Join(l.Close(), l.stopped()) })
	return l.err
}
