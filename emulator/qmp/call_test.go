package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExecuteBeforeConnect(t *testing.T) {
	c, _ := newPeer(t, nil)
	if err := c.Execute(context.Background(), "stop", nil, nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("Execute() = %v, want %v", err, ErrNotConnected)
	}
}

func TestExecute(t *testing.T) {
	c, p := connected(t, nil)
	go func() {
		cmd, _ := p.next()
		if got, want := string(cmd.Arguments), `{"path":"/machine"}`; got != want {
			p.t.Errorf("arguments %s, want %s", got, want)
		}
		// Events around and within the reply's way, the reply in two halves.
		p.send(`{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 0}}` + "\r\n")
		s := fmt.Sprintf(`{"return": [{"name": "a", "type": "b"}], "id": %s}`, cmd.ID)
		p.send(s[:15])
		p.send(s[15:] + `{"event": "RESUME"}` + "\r\n")
		cmd, _ = p.next()
		p.send(fmt.Sprintf(`{"id": %s, "error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}}`+"\n", cmd.ID))
		cmd, _ = p.next()
		p.answer(cmd, "{}")
	}()
	type prop struct{ Name, Type string }
	var got []prop
	err := c.Execute(within(t), "qom-list", map[string]string{"path": "/machine"}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]prop{{"a", "b"}}, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}

	err = c.Execute(within(t), "device_del", map[string]string{"id": "x"}, nil)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Execute() = %v, want *Error", err)
	}
	if diff := cmp.Diff(&Error{"device_del", ClassDeviceNotFound, "Device 'x' not found"}, e); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if !IsClass(fmt.Errorf("wrapped: %w", err), ClassDeviceNotFound) || IsClass(err, ClassGeneric) {
		t.Error("IsClass does not tell classes apart")
	}
	var wrong []string
	if err := c.Execute(within(t), "stop", nil, &wrong); err == nil {
		t.Error("a reply of another type was decoded without an error")
	}
}

func TestConcurrentCallsAnsweredInReverse(t *testing.T) {
	const n = 50
	c, p := connected(t, nil)
	go func() {
		var cmds []peerCommand
		for range n {
			cmd, ok := p.next()
			if !ok {
				return
			}
			cmds = append(cmds, cmd)
		}
		for i := len(cmds) - 1; i >= 0; i-- {
			p.answer(cmds[i], string(cmds[i].Arguments))
			p.send(`{"event": "NOISE"}` + "\n")
		}
	}()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var got struct{ N int }
			err := c.Execute(within(t), "echo", map[string]int{"N": i}, &got)
			if err != nil || got.N != i {
				t.Errorf("call %d got %d, %v", i, got.N, err)
			}
		})
	}
	wg.Wait()
}

func TestErrorWithoutID(t *testing.T) {
	c, p := connected(t, nil)
	go func() {
		_, _ = p.next()
		p.send(`{"error": {"class": "GenericError", "desc": "JSON nesting depth limit exceeded"}}` + "\n")
		cmd, _ := p.next()
		p.answer(cmd, "{}")
	}()
	err := c.Execute(within(t), "deep", nil, nil)
	if !IsClass(err, ClassGeneric) {
		t.Errorf("Execute() = %v, want GenericError", err)
	}
	if err := c.Execute(within(t), "stop", nil, nil); err != nil {
		t.Errorf("connection is not fine after it: %v", err)
	}
}

func TestCallerGivesUp(t *testing.T) {
	c, p := connected(t, &Config{MaxPending: 2})
	seen := make(chan peerCommand, 8)
	go func() {
		for {
			cmd, ok := p.next()
			if !ok {
				close(seen)
				return
			}
			seen <- cmd
		}
	}()
	// Two callers give up; their commands still count.
	var late []peerCommand
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		errc := make(chan error, 1)
		go func() { errc <- c.Execute(ctx, "slow", nil, nil) }()
		late = append(late, <-seen)
		cancel()
		if err := <-errc; !errors.Is(err, context.Canceled) {
			t.Errorf("Execute() = %v, want %v", err, context.Canceled)
		}
	}
	if err := c.Execute(within(t), "stop", nil, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("Execute() = %v, want %v", err, ErrBusy)
	}
	// The late replies are dropped and make room again.
	for _, cmd := range late {
		p.answer(cmd, `"late"`)
	}
	go func() { p.answer(<-seen, `"mine"`) }()
	deadline := time.Now().Add(patience)
	for {
		var got string
		err := c.Execute(within(t), "stop", nil, &got)
		if errors.Is(err, ErrBusy) && time.Now().Before(deadline) {
			continue
		}
		if err != nil || got != "mine" {
			t.Fatalf("Execute() = %q, %v; want mine", got, err)
		}
		break
	}
}

func TestPeerStopsReading(t *testing.T) {
	c, p := connected(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		first <- c.Execute(ctx, "big", map[string]string{"s": strings.Repeat("x", 8<<20)}, nil)
	}()
	if _, err := io.ReadFull(p.r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// The big command is on its way and fills the socket.
	short, cancelShort := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancelShort()
	if err := c.Execute(short, "small", nil, nil); !errors.Is(err, context.DeadlineExceeded) || c.Err() != nil {
		t.Errorf("waiting call got %v (client: %v), want %v", err, c.Err(), context.DeadlineExceeded)
	}
	cancel()
	if err := <-first; !errors.Is(err, ErrDisconnected) || !errors.Is(err, context.Canceled) {
		t.Errorf("cut-off call got %v, want %v", err, ErrDisconnected)
	}
	_ = p.conn.Close()
}

func TestCancelledBeforeSend(t *testing.T) {
	c, p := connected(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Execute(ctx, "stop", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Execute() = %v, want %v", err, context.Canceled)
	}
	go func() {
		cmd, _ := p.next()
		if cmd.Execute != "cont" {
			t.Errorf("peer got %q, want cont", cmd.Execute)
		}
		p.answer(cmd, "{}")
	}()
	if err := c.Execute(within(t), "cont", nil, nil); err != nil {
		t.Error(err)
	}
}

func BenchmarkExecute(b *testing.B) {
	x, y := net.Pipe()
	c := New(x, nil)
	defer c.Close()
	go func() {
		_, _ = io.WriteString(y, testGreeting)
		dec := json.NewDecoder(y)
		for {
			var cmd peerCommand
			if dec.Decode(&cmd) != nil {
				return
			}
			_, _ = fmt.Fprintf(y, `{"return": {}, "id": %s}`, cmd.ID)
		}
	}()
	if err := c.Connect(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Execute(context.Background(), "query-status", nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
