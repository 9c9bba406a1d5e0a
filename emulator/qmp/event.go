package qmp

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	goqemu "github.com/digitalocean/go-qemu/qmp"
)

// An Event is something QEMU tells without being asked.
type Event struct {
	Name string          // SHUTDOWN, RESET, STOP, ...
	Data json.RawMessage // nil if the event carries none
	Time time.Time       // QEMU's clock, microseconds; zero if it had none
}

// toGoQEMU converts for callers that hold a [goqemu.Monitor]. Data that is not
// an object, which no event of QEMU's has, is left out.
func (e Event) toGoQEMU() goqemu.Event {
	g := goqemu.Event{Event: e.Name}
	if len(e.Data) > 0 {
		_ = json.Unmarshal(e.Data, &g.Data)
	}
	if !e.Time.IsZero() {
		g.Timestamp.Seconds = e.Time.Unix()
		g.Timestamp.Microseconds = int64(e.Time.Nanosecond() / 1000)
	}
	return g
}

// A Subscription is one listener's queue of events. The client never waits for
// a listener.
//
// A queue that overflows loses the oldest event whose name occurs again behind
// it. A guest that floods one event (a panic device it writes to in a loop, say)
// can thus neither fill our memory nor push SHUTDOWN or STOP out: the last event
// of every name arrives.
type Subscription struct {
	c *Client

	mu      sync.Mutex
	wake    chan struct{} // 1 slot; filled when queue or ended changed
	queue   []Event
	names   map[string]int // how often each name is in queue
	max     int
	dropped uint64
	ended   error // set once no event follows
}

// Subscribe starts a queue. Events that arrived earlier are not in it, so a
// caller who must not miss any subscribes before Connect. Close it when done.
func (c *Client) Subscribe() *Subscription {
	s := &Subscription{
		c:     c,
		wake:  make(chan struct{}, 1),
		names: make(map[string]int),
		max:   c.cfg.MaxEvents,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		s.ended = c.err
		return s
	}
	c.subs[s] = struct{}{}
	return s
}

// Next returns the oldest event, waiting for one if there is none. After the
// connection ended and the queue is empty it returns the client's error, after
// Close io.EOF, and ctx's error when that ends first.
//
// Next is for one goroutine at a time.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			e := s.queue[0]
			s.queue[0] = Event{}
			s.queue = s.queue[1:]
			s.forget(e.Name)
			s.mu.Unlock()
			return e, nil
		}
		ended := s.ended
		s.mu.Unlock()
		if ended != nil {
			return Event{}, ended
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Dropped counts the events lost to a full queue.
func (s *Subscription) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Close ends the subscription and wakes Next. It never fails and may be called
// more than once.
func (s *Subscription) Close() error {
	s.c.mu.Lock()
	delete(s.c.subs, s)
	s.c.mu.Unlock()

	s.mu.Lock()
	s.queue = nil
	clear(s.names)
	s.mu.Unlock()
	s.end(io.EOF)
	return nil
}

// end makes err the answer once the queue is empty. The first call wins.
func (s *Subscription) end(err error) {
	s.mu.Lock()
	if s.ended == nil {
		s.ended = err
	}
	s.mu.Unlock()
	s.signal()
}

// add queues e without waiting.
func (s *Subscription) add(e Event) {
	s.mu.Lock()
	if s.ended == nil {
		if len(s.queue) >= s.max {
			s.dropOne(e.Name)
		}
		s.queue = append(s.queue, e)
		s.names[e.Name]++
	}
	s.mu.Unlock()
	s.signal()
}

// dropOne makes room for an event called next, by the rule in the type's
// comment. If every name is there once only, which takes more names than QEMU
// has, the oldest goes.
//
// Preconditions: s.mu is held; the queue is not empty.
func (s *Subscription) dropOne(next string) {
	victim := 0
	for i, e := range s.queue {
		n := s.names[e.Name]
		if e.Name == next {
			n++
		}
		if n > 1 {
			victim = i
			break
		}
	}
	s.forget(s.queue[victim].Name)
	copy(s.queue[victim:], s.queue[victim+1:])
	s.queue[len(s.queue)-1] = Event{}
	s.queue = s.queue[:len(s.queue)-1]
	s.dropped++
}

// forget takes one event called name off the count.
//
// Preconditions: s.mu is held.
func (s *Subscription) forget(name string) {
	if s.names[name]--; s.names[name] <= 0 {
		delete(s.names, name)
	}
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
