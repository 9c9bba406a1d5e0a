package instance

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/guest/agent"
	"github.com/nitrolab/nitrolab/guest/instance/control"
	"github.com/nitrolab/nitrolab/guest/instance/mux"
)

// An Agent is what serves the Host. It implements [control.Handler].
type Agent struct {
	mach    machine
	log     *slog.Logger
	streams mux.Guest
	tick    time.Duration // deviceTick

	mu   sync.Mutex // one request at a time; guards stop
	stop func()     // ends the SSH server; nil if there is none
}

// RunAgent serves the Host until ctx ends.
func RunAgent(ctx context.Context) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	newAgent(realMachine{log}, log).run(ctx)
}

func newAgent(m machine, log *slog.Logger) *Agent { return &Agent{mach: m, log: log, tick: deviceTick} }

// run serves both ports, and the link-local services, until ctx ends.
func (a *Agent) run(ctx context.Context) {
	defer a.end()
	// An instance without them is still of use, if only to find out why.
	if services, err := a.mach.LinkLocal(ctx); err != nil {
		a.log.Error("start link-local services", "err", err)
	} else {
		defer services.Close()
	}
	// A process that was started again is in an instance that runs. Its Host
	// expects the agent and does not know that anything happened.
	if a.mach.Resumed() {
		if err := a.begin(); err != nil {
			a.log.Error("start agent again", "err", err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		a.servePort(ctx, control.Port, func(port io.ReadWriteCloser) error { return control.Serve(ctx, port, a) })
	})
	wg.Go(func() {
		a.servePort(ctx, mux.Port, func(port io.ReadWriteCloser) error { return a.streams.Run(ctx, port) })
	})
	wg.Wait()
}

// servePort opens and serves a port until ctx ends. One that ends is opened again:
// it may have been unplugged, and there is nothing else to do.
func (a *Agent) servePort(ctx context.Context, name string, serve func(io.ReadWriteCloser) error) {
	for {
		port, err := a.mach.OpenPort(ctx, name)
		if err == nil {
			err = serve(port)
		}
		if ctx.Err() != nil {
			return
		}
		a.log.Warn("port failed", "port", name, "err", err)
		if !wait(ctx, time.Second) {
			return
		}
	}
}

// begin starts a new SSH server, with a new host key, on both carriers. The caller
// has mu, or is alone.
func (a *Agent) begin() error {
	server, err := agent.New(&agent.Config{Env: environment, Log: a.log})
	if err != nil {
		return err
	}
	streams, err := a.streams.Listen()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	serve := func(l net.Listener) {
		wg.Go(func() {
			defer l.Close() // it is gone when end returns, whoever was faster
			if err := server.Serve(ctx, l); err != nil {
				a.log.Error("serve agent", "on", l.Addr(), "err", err)
			}
		})
	}
	serve(streams)
	// Streams are enough to find out why there is no vsock.
	if l, err := a.mach.ListenVsock(); err != nil {
		a.log.Error("listen on vsock", "err", err)
	} else {
		serve(&hostListener{Listener: l, log: a.log})
	}
	a.stop = func() {
		cancel()
		wg.Wait()
	}
	return nil
}

// end ends the SSH server and everything that was started through it.
func (a *Agent) end() {
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}

// wait waits for d and reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
