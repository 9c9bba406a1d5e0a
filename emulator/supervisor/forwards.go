package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/forward"
)

// appGrace is how long after its heartbeat an enclave may refuse connections because
// its application does not listen yet, before scaling. Until then they are tried
// again.
const appGrace = 3 * time.Second

// forwardSet are the forwards of one enclave.
type forwardSet []*forward.Forward

// parseForwards reads specs, with unix paths made absolute.
func parseForwards(texts []string) ([]forward.Spec, error) {
	specs := make([]forward.Spec, 0, len(texts))
	for _, text := range texts {
		spec, err := forward.Parse(text)
		if err != nil {
			return nil, err
		}
		for _, e := range []*forward.Endpoint{&spec.Listen, &spec.Dial} {
			if e.Network != "unix" {
				continue
			}
			if e.Address, err = filepath.Abs(e.Address); err != nil {
				return nil, err
			}
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// listenForwards opens every listener: those into which an enclave dials have to
// be there from its first moment.
func listenForwards(p *parent, specs []forward.Spec) (set forwardSet, err error) {
	for _, spec := range specs {
		f, err := forward.Listen(p, spec)
		if err != nil {
			set.close()
			return nil, err
		}
		set = append(set, f)
	}
	return set, nil
}

func (set forwardSet) start(log *slog.Logger) {
	for _, f := range set {
		f.Start(log)
	}
}

func (set forwardSet) close() {
	for _, f := range set {
		_ = f.Close()
	}
}

// paths are the unix sockets that somebody has to remove.
func (set forwardSet) paths() []string {
	var list []string
	for _, f := range set {
		if p := f.Path(); p != "" {
			list = append(list, p)
		}
	}
	return list
}

// describe names each forward with the address it really has.
func (set forwardSet) describe() []string {
	list := []string{}
	for _, f := range set {
		list = append(list, f.String())
	}
	return list
}

// parent is the vsock of the Host as the parent of one enclave.
type parent struct {
	Host
	enclave Enclave          // set before the first Dial
	ran     func() time.Time // when it was first called, at the heartbeat
}

func newParent(h Host) *parent { return &parent{Host: h, ran: sync.OnceValue(time.Now)} }

// Listen takes connections that the enclave opens to its parent's port.
func (p *parent) Listen(port uint32) (net.Listener, error) {
	l, err := p.Host.Listen(port)
	switch {
	case err == nil:
		return l, nil
	case port == ports.Heartbeat:
		return nil, fmt.Errorf("vsock port %d of the parent is that of the heartbeat; allowed is another one", port)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("vsock port %d of the parent is taken by another forward", port)
	}
	return nil, err
}

// Dial waits for an enclave that is still booting, and for its application for
// a while after that.
func (p *parent) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	if err := p.enclave.WaitRunning(ctx); err != nil {
		return nil, err
	}
	dial, limit := dialer(p.enclave.Dial), p.Timeout(dialTimeout)
	if grace := p.Timeout(appGrace); time.Since(p.ran()) < grace {
		dial, limit = p.enclave.DialReady, grace
	}
	return dial.within(limit, "enclave")(ctx, port)
}
