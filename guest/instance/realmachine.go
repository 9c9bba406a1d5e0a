package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/instance/control"
	"github.com/nitrolab/nitrolab/guest/linklocal"
)

// realMachine is the kernel.
type realMachine struct{ log *slog.Logger }

func (realMachine) SetClock(t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

func (realMachine) SetHostname(name string) error { return unix.Sethostname([]byte(name)) }
func (realMachine) Sync()                         { unix.Sync() }
func (realMachine) FreeMemory()                   { debug.FreeOSMemory() }

func (realMachine) WriteFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

func (realMachine) Remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (realMachine) Set(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func (realMachine) Resumed() bool {
	_, err := os.Stat(stateFile)
	return err == nil
}

func (realMachine) Facts() (control.Ready, error) {
	var r control.Ready
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return r, fmt.Errorf("read kernel release: %w", err)
	}
	r.Release = unix.ByteSliceToString(uts.Release[:])
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return r, fmt.Errorf("read uptime: %w", err)
	}
	r.UptimeMs = ts.Nano() / int64(time.Millisecond)
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return r, fmt.Errorf("read memory size: %w", err)
	}
	r.MemoryKiB = info.Totalram * uint64(info.Unit) >> 10
	// Of a process that may run anywhere these are the CPUs that are on-line.
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return r, fmt.Errorf("read number of CPUs: %w", err)
	}
	r.CPUs = cpus.Count()
	return r, nil
}

// ListenVsock takes connections to whichever address the device will have: the
// card is plugged later.
func (realMachine) ListenVsock() (net.Listener, error) {
	return vsock.ListenContextID(unix.VMADDR_CID_ANY, ports.Agent, nil)
}

// LinkLocal serves from before the snapshot: a clone does not start it.
func (m realMachine) LinkLocal(ctx context.Context) (io.Closer, error) {
	s, err := linklocal.Start(ctx, linklocal.Config{Log: m.log})
	if err != nil {
		return nil, err // not s: an interface that holds nil is not nil
	}
	return s, nil
}

// HasVsock asks the driver, which has no address as long as there is no device.
func (realMachine) HasVsock() bool {
	cid, err := vsock.ContextID()
	return err == nil && cid != unix.VMADDR_CID_ANY && cid != unix.VMADDR_CID_HOST
}

const pciDevices = "/sys/bus/pci/devices"

func (realMachine) PCI() ([]control.Device, error) { return readPCI(pciDevices) }

// readPCI reads the functions in a folder of sysfs. One that goes away meanwhile
// is left out.
func readPCI(dir string) ([]control.Device, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no PCI
	}
	if err != nil {
		return nil, err
	}
	var list []control.Device
	for _, e := range entries {
		d := control.Device{BDF: e.Name()}
		vendor, err1 := os.ReadFile(filepath.Join(dir, e.Name(), "vendor"))
		device, err2 := os.ReadFile(filepath.Join(dir, e.Name(), "device"))
		if err1 != nil || err2 != nil {
			continue
		}
		d.ID = hexID(vendor) + ":" + hexID(device)
		if driver, err := os.Readlink(filepath.Join(dir, e.Name(), "driver")); err == nil {
			d.Driver = filepath.Base(driver)
		}
		list = append(list, d)
	}
	return list, nil
}

// hexID is "1d0f" for "0x1d0f\n".
func hexID(b []byte) string { return strings.TrimPrefix(strings.TrimSpace(string(b)), "0x") }
