package enclaveproc

import (
	"context"
	"errors"
	"os"
)

// A measuring measures an image in the background: nobody who starts an enclave
// waits for it, and who asks for the description does.
type measuring struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when m and err are set
	m      measurement
	err    error
}

// startMeasuring measures the image in f, which must stay open until stop has
// returned. It is the file that was booted, whatever has its name by now.
func startMeasuring(f *os.File, size int64) *measuring {
	ctx, cancel := context.WithCancel(context.Background())
	t := &measuring{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.m, t.err = measure(ctx, f, size)
	}()
	return t
}

// wait is the measurement, nil with an error.
func (t *measuring) wait() (*measurement, error) {
	<-t.done
	switch {
	case errors.Is(t.err, context.Canceled):
		return nil, nil // the enclave is being terminated
	case t.err != nil:
		return nil, t.err
	}
	return &t.m, nil
}

func (t *measuring) stop() {
	t.cancel()
	<-t.done
}
