package supervisor

import (
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
// whoever waits for the guest.
type Starter func(ctx context.Context, order Order, progress func(string)) (Host, error)

// errAbandoned is what a supervisor says to nobody.
var errAbandoned = errors.New("the process that started the supervisor has ended")

// Supervise is the life of a supervisor: it reads an Order from in, starts the
// guest, reports on out, and returns when the guest has ended. ctx ends it early; so
// does the end of in before the release.
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
	if err := s.order.check(); err != nil {
		return err
	}
	host, err := s.start(ctx, s.order, func(text string) { s.report(report{Progress: text}) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	claimed, err := openClaims(filepath.Dir(host.Dir()))
	if err != nil {
		return err
	}
	defer claimed.close()
	w, err := s.order.begin(ctx, host, claimed)
	if err != nil {
		return err
	}
	defer w.close()
	return s.follow(ctx, host.Dir(), w)
}

// follow is run while the guest runs.
func (s *supervision) follow(ctx context.Context, dir string, w *ward) error {
	control, err := serve(dir, w)
	if err != nil {
		return err
	}
	// Whoever asked for the end gets the answer that it came.
	defer control.close()
	ready := w.describe()
	s.report(report{Ready: &ready, Dir: dir})
	select {
	case <-w.Done():
		return w.Err()
	case <-ctx.Done(): // also if the release does not come
		return ctx.Err()
	}
}
