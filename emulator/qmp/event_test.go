package qmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	goqemu "github.com/digitalocean/go-qemu/qmp"
	"github.com/google/go-cmp/cmp"
)

func TestSubscribe(t *testing.T) {
	c, p := newPeer(t, nil)
	s := c.Subscribe() // before Connect: nothing may be missed
	go func() {
		p.negotiate(`{"event": "RESUME", "timestamp": {"seconds": 1700000000, "microseconds": 250000}}` + "\n")
		p.send(`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, "timestamp": {"seconds": -1, "microseconds": -1}}` + "\n")
		_ = p.conn.Close()
	}()
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{Name: "RESUME", Time: time.Unix(1700000000, 250000000)},
		{Name: "SHUTDOWN", Data: []byte(`{"guest": true, "reason": "guest-reset"}`)},
	}
	var got []Event
	for {
		e, err := s.Next(within(t))
		if err != nil {
			if !errors.Is(err, ErrDisconnected) {
				t.Errorf("Next() at the end = %v, want %v", err, ErrDisconnected)
			}
			break
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Subscribe().Next(within(t)); !errors.Is(err, ErrDisconnected) {
		t.Errorf("Next() of a late subscription = %v, want %v", err, ErrDisconnected)
	}
}

func TestSubscriptionEnds(t *testing.T) {
	c, _ := connected(t, nil)
	s := c.Subscribe()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next() = %v, want %v", err, context.Canceled)
	}
	errc := make(chan error, 1)
	go func() {
		_, err := s.Next(context.Background())
		errc <- err
	}()
	_ = s.Close()
	if err := <-errc; !errors.Is(err, io.EOF) {
		t.Errorf("Next() after Close = %v, want %v", err, io.EOF)
	}
}

// TestFloodKeepsTheLastOfEveryName is the rule of Subscription.
func TestFloodKeepsTheLastOfEveryName(t *testing.T) {
	c, _ := newPeer(t, &Config{MaxEvents: 4})
	s := c.Subscribe()
	add := func(name string, n int) {
		s.add(Event{Name: name, Data: fmt.Appendf(nil, "%d", n)})
	}
	add("STOP", 0)
	for i := range 100 {
		add("GUEST_PANICKED", i)
	}
	add("STOP", 1)
	add("SHUTDOWN", 0)
	for i := range 100 {
		add("RTC_CHANGE", i)
	}
	var got []string
	for range 4 {
		e, err := s.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name+" "+string(e.Data))
	}
	want := []string{"GUEST_PANICKED 99", "STOP 1", "SHUTDOWN 0", "RTC_CHANGE 99"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got, want := s.Dropped(), uint64(203-4); got != want {
		t.Errorf("dropped %d, want %d", got, want)
	}
	if len(s.names) != 0 {
		t.Errorf("names left: %v", s.names)
	}
}

func TestFloodOfDistinctNames(t *testing.T) {
	c, _ := newPeer(t, &Config{MaxEvents: 3})
	s := c.Subscribe()
	for i := range 10 {
		s.add(Event{Name: fmt.Sprint(i)})
	}
	if len(s.queue) != 3 || s.queue[0].Name != "7" {
		t.Errorf("queue %v, want the last three", s.queue)
	}
}

// TestUndrainedChannel: a caller who asked for events and does not take them
// must not stop replies, nor Close.
func TestUndrainedChannel(t *testing.T) {
	c, p := connected(t, &Config{MaxEvents: 8})
	if _, err := c.Events(context.Background()); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			cmd, ok := p.next()
			if !ok {
				return
			}
			for range 100 {
				p.send(`{"event": "NOISE"}` + "\n")
			}
			p.answer(cmd, "{}")
		}
	}()
	for range 10 {
		if err := c.Execute(within(t), "stop", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan struct{})
	go func() { _ = c.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close waits for a receiver of events")
	}
}

func TestEvents(t *testing.T) {
	c, p := connected(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancelled, err := c.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range cancelled { // closed because of the context
	}
	events, err := c.Events(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p.send(`{"event": "RESET", "data": {"guest": true}, "timestamp": {"seconds": 5, "microseconds": 6}}` + "\n")
	p.send(`{"event": "ODD", "data": [1]}` + "\n")
	_ = p.conn.Close()
	var got []goqemu.Event
	for e := range events { // closed because the connection ended, after the last event
		got = append(got, e)
	}
	reset := goqemu.Event{Event: "RESET", Data: map[string]any{"guest": true}}
	reset.Timestamp.Seconds, reset.Timestamp.Microseconds = 5, 6
	if diff := cmp.Diff([]goqemu.Event{reset, {Event: "ODD"}}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func BenchmarkEventFlood(b *testing.B) {
	c := New(nil, nil)
	s := c.Subscribe()
	s.add(Event{Name: "SHUTDOWN"})
	b.ReportAllocs()
	for b.Loop() {
		s.add(Event{Name: "GUEST_PANICKED"})
	}
}
