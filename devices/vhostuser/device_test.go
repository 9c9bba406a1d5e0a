package vhostuser_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/virtio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// echo is a device that returns what it reads in upper case, byte by byte. It
// checks that the transport calls it as it must.
type echo struct {
	t      testing.TB
	queues int
	config []byte

	mu   sync.Mutex
	ring []*echoQueue
	gate chan struct{} // if not nil, HandleQueue receives from it first
	log  []string      // calls, without HandleQueue
	lazy chan struct{} // if not nil, HandleQueue sends to it instead of notifying
	feed func()        // called for every chain
	fail []error       // what HandleQueue returns for a chain, per queue
}

type echoQueue struct {
	mu    sync.Mutex // found locked: two calls at once
	q     *virtio.Queue
	chain virtio.Chain
	buf   [256]byte
}

func newEcho(t testing.TB, queues int) *echo {
	e := &echo{t: t, queues: queues}
	for range queues {
		e.ring = append(e.ring, &echoQueue{})
		e.fail = append(e.fail, nil)
	}
	return e
}

func (e *echo) DeviceID() uint32 { return 42 }
func (e *echo) Features() uint64 { return 1 << 5 }
func (e *echo) NumQueues() int   { return e.queues }
func (e *echo) Config() []byte   { return e.config }

// enter marks a call for queue i; unlocking the result ends it.
func (e *echo) enter(i int) *sync.Mutex {
	r := e.ring[i]
	if !r.mu.TryLock() {
		e.t.Errorf("two calls for queue %d at once", i)
		r.mu.Lock()
	}
	return &r.mu
}

func (e *echo) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, fmt.Sprintf(format, args...))
}

// failWith makes HandleQueue fail with err once it has a chain of queue i.
func (e *echo) failWith(i int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail[i] = err
}

func (e *echo) failure(i int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fail[i]
}

// running tells whether queue i is started. No call for it may be under way.
func (e *echo) running(i int) bool {
	defer e.enter(i).Unlock()
	return e.ring[i].q != nil
}

// calls returns and forgets the calls noted so far.
func (e *echo) calls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.log
	e.log = nil
	return l
}

func (e *echo) StartQueue(i int, q *virtio.Queue) {
	defer e.enter(i).Unlock()
	if e.ring[i].q != nil {
		e.t.Errorf("queue %d started twice", i)
	}
	e.ring[i].q = q
	e.note("start %d at %d", i, q.Next())
}

func (e *echo) StopQueue(i int) {
	defer e.enter(i).Unlock()
	if e.ring[i].q == nil {
		e.t.Errorf("queue %d stopped twice", i)
	}
	e.note("stop %d at %d", i, e.ring[i].q.Next())
	e.ring[i].q = nil
}

func (e *echo) HandleQueue(i int) error {
	defer e.enter(i).Unlock()
	r := e.ring[i]
	if r.q == nil {
		e.t.Errorf("queue %d handled while stopped", i)
		return nil
	}
	if e.gate != nil {
		<-e.gate
	}
	for {
		ok, err := r.q.Pop(&r.chain)
		if err != nil {
			return err
		}
		if !ok && e.lazy != nil {
			e.lazy <- struct{}{}
			return nil
		}
		if !ok {
			return r.q.Notify()
		}
		n := r.chain.CopyOut(r.buf[:])
		for k, b := range r.buf[:n] {
			if b >= 'a' && b <= 'z' {
				r.buf[k] = b - 32
			}
		}
		n = r.chain.CopyIn(r.buf[:n])
		if err := e.failure(i); err != nil {
			return err
		}
		if err := r.q.Push(r.chain.Head, uint32(n)); err != nil {
			return err
		}
		if e.feed != nil {
			e.feed()
		}
	}
}
