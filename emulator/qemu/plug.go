package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/nitrolab/nitrolab/emulator/qmp"
)

// vfioUserTimeout is how long QEMU waits for an answer of a device model, in ms.
// When it gives up the connection is out of step and the device dead for ever, so
// it is long: the guest waits meanwhile, which a person can look into. A model
// whose process ends takes QEMU with it.
const vfioUserTimeout = 60_000

// PlugVfioUser plugs a PCIe function that is served over vfio-user into a free
// root port, see [RootPort]. socket stands for the listening socket, see
// guard.UnixListener: QEMU takes no connected one but a path, which leads to the
// descriptor in this process, so that no name in the file system is needed. (To
// pass the descriptor itself does not work: QEMU sets flags on what it receives,
// which a descriptor without access refuses, and drops the monitor.) The machine
// may be paused. The caller closes socket.
//
// There is no way back: QEMU 11.1.3 aborts when a function with MSI-X is
// unplugged.
func (p *Process) PlugVfioUser(ctx context.Context, id, port string, socket *os.File) error {
	err := p.monitor.Execute(ctx, "device_add", map[string]any{
		"driver": "vfio-user-pci", "id": id, "bus": port,
		"x-msg-timeout": vfioUserTimeout,
		"socket":        map[string]any{"type": "unix", "path": fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), socket.Fd())},
	}, nil)
	if err != nil {
		return fmt.Errorf("plug %s: %w", id, err)
	}
	return nil
}

// PlugVhostUser plugs a virtio device that is served over vhost-user, by QEMU's
// end of a connected socket, into a free root port. driver is a -pci variant, such
// as vhost-user-vsock-pci. The caller closes socket.
func (p *Process) PlugVhostUser(ctx context.Context, driver, id, port string, socket *os.File) error {
	chardev := id + "-socket"
	if err := p.monitor.SendFile(ctx, chardev, socket); err != nil {
		return fmt.Errorf("plug %s: %w", id, err)
	}
	err := p.monitor.Execute(ctx, "chardev-add", map[string]any{
		"id": chardev,
		"backend": map[string]any{"type": "socket", "data": map[string]any{
			"addr":   map[string]any{"type": "fd", "data": map[string]any{"str": chardev}},
			"server": false,
		}},
	}, nil)
	if err != nil {
		return fmt.Errorf("plug %s: %w", id, err)
	}
	err = p.monitor.Execute(ctx, "device_add", map[string]any{"driver": driver, "id": id, "bus": port, "chardev": chardev}, nil)
	if err != nil {
		return fmt.Errorf("plug %s: %w", id, err)
	}
	return nil
}

// Continue lets a paused guest run.
func (p *Process) Continue(ctx context.Context) error {
	return p.monitor.Execute(ctx, "cont", nil, nil)
}

// Save stops the guest and writes its state to the new file at path, in the
// mapped-ram form: sparse, each page at its own place. The guest stays stopped.
//
// The machine must have neither vhost-user devices, which QEMU refuses, nor
// vfio-user ones, whose state it loses without a word.
func (p *Process) Save(ctx context.Context, path string) error {
	if err := p.monitor.Execute(ctx, "stop", nil, nil); err != nil {
		return fmt.Errorf("save guest: %w", err)
	}
	if err := p.migrate(ctx, "migrate", path); err != nil {
		return fmt.Errorf("save guest: %w", err)
	}
	return nil
}

// Restore loads what Save wrote into a machine of the same shape that was started
// with [Incoming] and Config.Paused. The guest is paused afterwards.
func (p *Process) Restore(ctx context.Context, path string) error {
	if err := p.migrate(ctx, "migrate-incoming", path); err != nil {
		return fmt.Errorf("restore guest: %w", err)
	}
	return nil
}

// Incoming starts a machine that is to be restored.
type Incoming struct{}

func (Incoming) Args() []string       { return []string{"-incoming", "defer"} }
func (Incoming) KernelArgs() []string { return nil }

// migrate runs one of the two migration commands to its end.
func (p *Process) migrate(ctx context.Context, command, path string) error {
	events := p.monitor.Subscribe()
	defer events.Close()
	capabilities := []map[string]any{
		{"capability": "mapped-ram", "state": true},
		{"capability": "events", "state": true},
	}
	err := p.monitor.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": capabilities}, nil)
	if err == nil {
		err = p.monitor.Execute(ctx, command, map[string]any{"uri": "file:" + path}, nil)
	}
	if err != nil {
		return err
	}
	for {
		e, err := events.Next(ctx)
		if err != nil {
			return err
		}
		if e.Name != "MIGRATION" {
			continue
		}
		var d struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return fmt.Errorf("read event %s: %w", e.Name, err)
		}
		switch d.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return p.migrationError(ctx, d.Status)
		}
	}
}

// ErrMigration says that QEMU could not save or load a guest.
var ErrMigration = errors.New("migration failed")

// migrationError asks why.
func (p *Process) migrationError(ctx context.Context, status string) error {
	var info struct {
		Desc string `json:"error-desc"`
	}
	err := p.monitor.Execute(ctx, "query-migrate", nil, &info)
	if errors.Is(err, qmp.ErrDisconnected) || info.Desc == "" {
		return fmt.Errorf("%w: %s", ErrMigration, status)
	}
	return fmt.Errorf("%w: %s", ErrMigration, info.Desc)
}
