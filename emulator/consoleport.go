package emulator

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/weaken"
)

// maxConsoles is how many may look at one console through its port at once.
const maxConsoles = 8

// A consolePort gives the console of an enclave to its parent where the hypervisor
// does: CID 0, port 10000 + the enclave's CID, an output stream (nitro-cli
// src/enclave_proc/commands.rs; QEMU hw/nitro/serial-vsock.c).
type consolePort struct {
	listener net.Listener
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// openConsolePort opens the port of e: none for an enclave in production mode, and
// none where the Host is the parent, which has [Enclave.CopyConsole].
func openConsolePort(e *Enclave) (*consolePort, error) {
	visible := e.cfg.Debug || e.host.cfg.Weaken.Off(weaken.ProductionConsole)
	if !visible || e.parent == e.host.own {
		return nil, nil
	}
	l, err := e.parent.vsock.Listen(vsock.CIDHypervisor, vsock.ConsolePort(e.cid))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &consolePort{listener: l, cancel: cancel}
	slots := make(chan struct{}, maxConsoles)
	p.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case slots <- struct{}{}:
			default:
				c.Close()
				continue
			}
			p.done.Go(func() {
				defer func() { <-slots }()
				show(ctx, c, e)
			})
		}
	})
	return p, nil
}

// show copies the console to one viewer until either ends.
func show(ctx context.Context, c net.Conn, e *Enclave) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.Close() // ends the reader
	reading.Go(func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, c) // a viewer says nothing; its end is heard
	})
	stop := context.AfterFunc(ctx, func() { c.Close() }) // a viewer that does not read
	defer stop()
	_, _ = io.Copy(c, e.Console().Follow(ctx))
}

// consoleGrace is how long a viewer may take for what the console said last.
const consoleGrace = 2 * time.Second

// close ends the port. The machine has ended, and with it the console.
func (p *consolePort) close() {
	if p == nil {
		return
	}
	_ = p.listener.Close()
	late := time.AfterFunc(consoleGrace, p.cancel)
	defer late.Stop()
	p.done.Wait()
	p.cancel()
}
