package supervisor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/nitrolab/nitrolab/emulator"
)

// A Starter makes the Host for an Order; its caller closes it. Progress goes to
// whoever waits for the enclave.
type Starter func(ctx context.Context, order Order, progress func(string)) (Host, error)

// errAbandoned is what a supervisor says to nobody.
var errAbandoned = errors.New("the process that started the enclave ended before the enclave ran")

// Supervise is the life of a supervisor: it reads an Order from in, starts the
// enclave, reports on out, and returns when the enclave has ended. ctx ends it
// early; so does the end of in before the release.
//
// Writing to a pipe whose reader is gone must not kill the process: its caller
// lets it survive SIGPIPE. A goroutine reads in and outlives Supervise, until in
// ends, if no release came.
func Supervise(ctx context.Context, in io.Reader, out io.Writer, start Starter) error {
	orders := json.NewDecoder(in)
	var order Order
	if err := orders.Decode(&order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &supervision{order: order, start: start, out: newEncoder(out), released: make(chan struct{})}
	go func() {
		var r release
		if err := orders.Decode(&r); err != nil || !r.Release {
			cancel(errAbandoned)
			return
		}
		s.silence()
		close(s.released)
	}()
	if err := s.run(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			err = context.Cause(ctx)
		}
		s.report(report{Error: emulator.Report(err)})
		return err
	}
	return nil
}

// supervision is one call of Supervise.
type supervision struct {
	order    Order
	start    Starter
	released chan struct{} // closed at the release

	mu  sync.Mutex    // progress comes from several goroutines
	out *json.Encoder // guarded by mu; nil when nobody listens any more
}

// report tells whoever started us.
func (s *supervision) report(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out != nil {
		_ = s.out.Encode(r)
	}
}

func (s *supervision) silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = nil
}

func (s *supervision) run(ctx context.Context) (err error) {
	specs, err := parseForwards(s.order.Forwards)
	if err != nil {
		return err
	}
	host, err := s.start(ctx, s.order, func(text string) { s.report(report{Progress: text}) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()

	cfg := s.order.Enclave
	claimed, err := openClaims(filepath.Dir(host.Dir()))
	if err != nil {
		return err
	}
	defer claimed.close()
	if cfg.CID, err = claimed.cid(cfg.CID); err != nil {
		return err
	}
	if cfg.Name, err = claimed.name(cmp.Or(cfg.Name, emulator.DefaultName(cfg.EIFPath))); err != nil {
		return err
	}
	parent := newParent(host)
	forwards, err := listenForwards(parent, specs)
	if err != nil {
		return err
	}
	defer forwards.close()
	cfg.Remove = forwards.paths()

	e, err := host.StartEnclave(ctx, cfg)
	if err != nil {
		return err
	}
	parent.enclave = e
	forwards.start(host.Log())
	return s.follow(ctx, host, parent, forwards)
}

// follow is run from the enclave's start to its end.
func (s *supervision) follow(ctx context.Context, host Host, parent *parent, forwards forwardSet) error {
	e := parent.enclave
	if err := e.WaitRunning(ctx); err != nil {
		return err
	}
	parent.ran()
	now := func() Description {
		d := describe(e.Info())
		d.RootPEM = string(host.RootPEM())
		d.EIFPath = s.order.Enclave.EIFPath
		d.Forwards = forwards.describe()
		return d
	}
	control, err := serve(host.Dir(), e, parent.Dial, now)
	if err != nil {
		return err
	}
	// Whoever asked for the end gets the answer that it came.
	defer control.close()
	ready := now()
	s.report(report{Ready: &ready})
	select {
	case <-e.Done():
		return nil
	case <-ctx.Done(): // also if the release does not come
		return ctx.Err()
	}
}
