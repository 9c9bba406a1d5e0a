package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/forward"
)

// A Starter makes the Host for an Order; its caller closes it. Progress goes to
// whoever waits for the enclave.
type Starter func(ctx context.Context, order Order, progress func(string)) (*emulator.Host, error)

// Supervise is the life of a supervisor: it reads an Order from in, starts the
// enclave, reports on out, and returns when the enclave has ended. ctx ends it
// early; so does the end of in before leave was given.
func Supervise(ctx context.Context, in io.Reader, out io.Writer, start Starter) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	text, err := lines.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	var order Order
	if err := json.Unmarshal(text, &order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	left := make(chan struct{}) // closed when leave was given
	go func() {
		if line, err := lines.ReadSlice('\n'); err != nil || string(line) != leave {
			cancel(errAbandoned)
			return
		}
		close(left)
	}()

	s := &supervision{out: json.NewEncoder(out)}
	if err := s.run(ctx, order, start, left); err != nil {
		s.report(report{Error: emulator.Report(err)})
		return err
	}
	return nil
}

var errAbandoned = errors.New("the process that started the enclave ended before the enclave ran")

// supervision is one call of Supervise.
type supervision struct {
	mu  sync.Mutex // progress comes from several goroutines
	out *json.Encoder
}

// report tells whoever started us; after leave was given nobody may listen.
func (s *supervision) report(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(r)
}

func (s *supervision) run(ctx context.Context, order Order, start Starter, left <-chan struct{}) (err error) {
	specs := make([]forward.Spec, 0, len(order.Forwards))
	for _, text := range order.Forwards {
		spec, err := forward.Parse(text)
		if err != nil {
			return err
		}
		specs = append(specs, spec)
	}
	host, err := start(ctx, order, func(text string) { s.report(report{Progress: text}) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()

	e, err := host.StartEnclave(ctx, order.Enclave)
	if err != nil {
		return err
	}
	// Forwards that an enclave needs from its first moment listen before it has
	// one; those that lead into it have nobody to reach before.
	forwards, err := openForwards(host, e, specs)
	if err != nil {
		return err
	}
	defer forwards.close()
	if err := e.WaitRunning(ctx); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}

	describe := func() Description {
		return Description{
			Enclave:  e.Info(),
			RootPEM:  string(host.RootPEM()),
			EIFPath:  order.Enclave.EIFPath,
			Forwards: forwards.describe(),
		}
	}
	control, err := serve(host.Dir(), e, describe)
	if err != nil {
		return err
	}
	defer func() {
		// Whoever asked for the end gets the answer that it came.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		control.close(ctx)
	}()
	ready := describe()
	s.report(report{Ready: &ready})
	select {
	case <-left:
	case <-e.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-e.Done():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// openForward is one forward of a running enclave.
type openForward struct {
	spec forward.Spec
	*forward.Forward
}

type forwardSet []openForward

func openForwards(host *emulator.Host, e *emulator.Enclave, specs []forward.Spec) (set forwardSet, err error) {
	for _, spec := range specs {
		f, err := forward.Start(parent{host, e}, spec, host.Log())
		if err != nil {
			set.close()
			return nil, err
		}
		set = append(set, openForward{spec, f})
	}
	return set, nil
}

func (set forwardSet) close() {
	for _, f := range set {
		_ = f.Close()
	}
}

// describe names each forward with the address it really has.
func (set forwardSet) describe() []string {
	list := []string{}
	for _, f := range set {
		spec := f.spec
		if spec.Listen.Network == "tcp" {
			spec.Listen.Address = f.Addr().String()
		}
		list = append(list, spec.String())
	}
	return list
}

// parent is the vsock of the Host as the parent of one enclave.
type parent struct {
	*emulator.Host
	enclave *emulator.Enclave
}

func (p parent) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	return p.enclave.Dial(ctx, port)
}
