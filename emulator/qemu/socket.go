package qemu

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Drivers of [VhostUser] that sit on virtio-mmio.
const (
	// DriverVsock is virtio device 19. QEMU keeps its event queue and passes
	// queues 0 and 1 to the back end.
	DriverVsock = "vhost-user-vsock-device"

	// DriverGeneric is any virtio device, chosen by VhostUser.VirtioID. It is
	// there from QEMU 10.2.
	DriverGeneric = "vhost-user-test-device"
)

// VhostUser is a virtio device whose other side serves the vhost-user protocol
// on a socket. The RAM must be shared. The back end must serve before QEMU
// starts: QEMU negotiates while it creates the device, and waits.
type VhostUser struct {
	ID     string // unique; also names the character device, ID-socket
	Driver string // one of the constants, or a -pci variant

	// For DriverGeneric only. Zero values leave QEMU's defaults (1 queue of 64
	// entries, no configuration space).
	VirtioID   uint32
	Queues     int
	QueueSize  int
	ConfigSize int

	Bus  string   // such as MMIOSlot(1); empty lets QEMU choose
	File *os.File // QEMU's end of the socket, see guard.SocketPair
}

// Args is empty: without its back end the device cannot be created.
func (VhostUser) Args() []string       { return nil }
func (VhostUser) KernelArgs() []string { return nil }

// Files implements [Inheritor].
func (v VhostUser) Files() []*os.File { return []*os.File{v.File} }

// FileArgs implements [Inheritor].
func (v VhostUser) FileArgs(fds []int) []string {
	chardev := v.ID + "-socket"
	opts := []string{v.Driver, "id=" + escape(v.ID), "chardev=" + escape(chardev)}
	if v.VirtioID != 0 {
		opts = append(opts, "virtio-id="+strconv.FormatUint(uint64(v.VirtioID), 10))
	}
	for _, o := range []struct {
		name  string
		value int
	}{{"num_vqs", v.Queues}, {"vq_size", v.QueueSize}, {"config_size", v.ConfigSize}} {
		if o.value != 0 {
			opts = append(opts, o.name+"="+strconv.Itoa(o.value))
		}
	}
	if v.Bus != "" {
		opts = append(opts, "bus="+escape(v.Bus))
	}
	return []string{
		"-chardev", socketChardev(chardev, fds[0]),
		"-device", strings.Join(opts, ","),
	}
}

// Note implements [Inheritor].
func (v VhostUser) Note() string {
	return fmt.Sprintf("without %s %q: its back end lives in nitrolab", v.Driver, v.ID)
}

// Validate implements [Validator].
func (v VhostUser) Validate() error {
	switch {
	case v.ID == "":
		return errors.New("VhostUser.ID is empty")
	case v.Driver == "":
		return fmt.Errorf("VhostUser.Driver of %q is empty", v.ID)
	case v.File == nil:
		return fmt.Errorf("VhostUser.File of %q is nil", v.ID)
	case strings.HasPrefix(v.Driver, DriverGeneric) && v.VirtioID == 0:
		return fmt.Errorf("VhostUser.VirtioID of %q is 0", v.ID)
	case v.VirtioID > 0xffff:
		return fmt.Errorf("VhostUser.VirtioID of %q is %d, must be at most 65535", v.ID, v.VirtioID)
	case v.Queues < 0 || v.QueueSize < 0 || v.ConfigSize < 0:
		return fmt.Errorf("VhostUser %q: a size is negative", v.ID)
	}
	return nil
}

// socketChardev is a character device over a connected socket.
func socketChardev(id string, fd int) string {
	return "socket,id=" + escape(id) + ",fd=" + strconv.Itoa(fd)
}

// consoleSocket is the first serial port, over a socket that Start reads.
type consoleSocket struct{ file *os.File }

func (consoleSocket) Args() []string       { return []string{"-serial", "stdio"} }
func (consoleSocket) KernelArgs() []string { return nil }
func (c consoleSocket) Files() []*os.File  { return []*os.File{c.file} }
func (consoleSocket) Note() string         { return "" }
func (consoleSocket) FileArgs(f []int) []string {
	return []string{"-chardev", socketChardev("console", f[0]), "-serial", "chardev:console"}
}

// monitorSocket is QMP, over a socket that Start connects to. The machine waits
// with its first instruction until the monitor is connected, so that no event
// is missed.
type monitorSocket struct{ file *os.File }

func (monitorSocket) Args() []string       { return nil }
func (monitorSocket) KernelArgs() []string { return nil }
func (m monitorSocket) Files() []*os.File  { return []*os.File{m.file} }
func (monitorSocket) Note() string         { return "" }
func (monitorSocket) FileArgs(f []int) []string {
	return []string{"-chardev", socketChardev("monitor", f[0]), "-qmp", "chardev:monitor", "-S"}
}

// SerialFile is a serial port whose output QEMU itself writes to a file.
type SerialFile struct {
	ID   string
	Path string
}

func (s SerialFile) Args() []string {
	return []string{
		"-chardev", "file,id=" + escape(s.ID) + ",path=" + escape(s.Path),
		"-serial", "chardev:" + s.ID,
	}
}

func (SerialFile) KernelArgs() []string { return nil }

// Validate implements [Validator].
func (s SerialFile) Validate() error {
	if s.ID == "" || s.Path == "" {
		return errors.New("SerialFile.ID and SerialFile.Path must not be empty")
	}
	return nil
}
