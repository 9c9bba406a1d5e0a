package qmp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestConnect(t *testing.T) {
	c, p := newPeer(t, nil)
	// An event before the reply to qmp_capabilities must not be taken for it.
	go p.negotiate(`{"event": "RESUME", "timestamp": {"seconds": 7, "microseconds": 5}}` + "\r\n")
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	g := c.Greeting()
	if got, want := g.Version.String(), "11.1.3"; got != want {
		t.Errorf("version %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{"oob"}, g.Capabilities); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
	if err := c.Connect(); err == nil {
		t.Error("second Connect succeeded")
	}
}

func TestConnectFails(t *testing.T) {
	tests := []struct {
		name string
		play func(p *peer)
		want error
	}{
		{"silent", func(*peer) {}, context.DeadlineExceeded},
		{"half a greeting", func(p *peer) { p.send(testGreeting[:40]) }, context.DeadlineExceeded},
		{"eof", func(p *peer) { _ = p.conn.Close() }, ErrDisconnected},
		{"eof within the greeting", func(p *peer) { p.send(testGreeting[:40]); _ = p.conn.Close() }, ErrDisconnected},
		{"no greeting", func(p *peer) { p.send(`{"return": {}, "id": 1}`) }, ErrProtocol},
		{"not JSON", func(p *peer) { p.send("QEMU 11.1.3 monitor - type 'help'\r\n(qemu) ") }, ErrProtocol},
		{"not an object", func(p *peer) { p.send("17\n") }, ErrProtocol},
		{"capabilities unanswered", func(p *peer) { p.send(testGreeting) }, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, p := newPeer(t, &Config{ConnectTimeout: 100 * time.Millisecond})
			if tt.want != context.DeadlineExceeded {
				c.cfg.ConnectTimeout = patience
			}
			go tt.play(p)
			err := c.Connect()
			if !errors.Is(err, tt.want) {
				t.Errorf("Connect() = %v, want %v", err, tt.want)
			}
			if err := c.Execute(context.Background(), "query-status", nil, nil); !errors.Is(err, c.Err()) || err == nil {
				t.Errorf("Execute() after it = %v, want %v", err, c.Err())
			}
		})
	}
}

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

func TestLargeReply(t *testing.T) {
	c, p := connected(t, nil)
	want := strings.Repeat("x", 1<<20)
	go func() {
		for range 3 {
			cmd, _ := p.next()
			p.answer(cmd, `"`+want+`"`)
		}
	}()
	for range 3 {
		var got string
		if err := c.Execute(within(t), "query-qmp-schema", nil, &got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("got %d bytes, want %d", len(got), len(want))
		}
	}
}

func TestMessageOverTheLimit(t *testing.T) {
	c, p := connected(t, &Config{MaxMessage: 4096})
	go func() {
		cmd, _ := p.next()
		p.send(fmt.Sprintf(`{"id": %s, "return": "%s`, cmd.ID, strings.Repeat("x", 10000)))
	}()
	err := c.Execute(within(t), "query-qmp-schema", nil, nil)
	if !errors.Is(err, ErrProtocol) || !errors.Is(err, errTooLarge) {
		t.Errorf("Execute() = %v, want %v", err, errTooLarge)
	}
}

// TestUnderTheLimitForEver checks that the limit is per message.
func TestUnderTheLimitForEver(t *testing.T) {
	c, p := connected(t, &Config{MaxMessage: 4096})
	go func() {
		for {
			cmd, ok := p.next()
			if !ok {
				return
			}
			p.answer(cmd, `"`+strings.Repeat("x", 3000)+`"`)
		}
	}()
	for range 20 {
		if err := c.Execute(within(t), "stop", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPendingCallsFailTogether(t *testing.T) {
	tests := []struct {
		name string
		end  func(c *Client, p *peer)
		want error
	}{
		{"eof", func(_ *Client, p *peer) { _ = p.conn.Close() }, ErrDisconnected},
		{"eof within a message", func(_ *Client, p *peer) { p.send(`{"ev`); _ = p.conn.Close() }, ErrDisconnected},
		{"garbage", func(_ *Client, p *peer) { p.send("\x00\xff}{") }, ErrProtocol},
		{"reply to nothing", func(_ *Client, p *peer) { p.send(`{"return": {}, "id": 9999}`) }, ErrProtocol},
		{"id of another type", func(_ *Client, p *peer) { p.send(`{"return": {}, "id": "a"}`) }, ErrProtocol},
		{"null id", func(_ *Client, p *peer) { p.send(`{"return": {}, "id": null}`) }, ErrProtocol},
		{"return without id", func(_ *Client, p *peer) { p.send(`{"return": {}}`) }, ErrProtocol},
		{"neither event nor reply", func(_ *Client, p *peer) { p.send(`{"hello": 1}`) }, ErrProtocol},
		{"deep nesting", func(_ *Client, p *peer) { p.send(strings.Repeat("[", 1<<16)) }, ErrProtocol},
		{"close", func(c *Client, _ *peer) { _ = c.Close() }, ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, p := connected(t, nil)
			const n = 5
			errs := make(chan error, n)
			for range n {
				go func() { errs <- c.Execute(context.Background(), "stop", nil, nil) }()
			}
			for range n {
				if _, ok := p.next(); !ok {
					t.Fatal("no command")
				}
			}
			go tt.end(c, p)
			for range n {
				select {
				case err := <-errs:
					if !errors.Is(err, tt.want) || !errors.Is(err, c.Err()) {
						t.Errorf("pending call got %v, want %v", err, tt.want)
					}
				case <-time.After(patience):
					t.Fatal("a pending call hangs")
				}
			}
			select {
			case <-c.Done():
			case <-time.After(patience):
				t.Error("Done is not closed")
			}
			if _, err := c.Events(context.Background()); !errors.Is(err, tt.want) {
				t.Errorf("Events() after the end = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestErrorWithoutID: QEMU's parser cannot name the command it failed on.
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

// TestPeerStopsReading fills the socket: a command that was cut off ends the
// connection, one that was never begun does not.
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

func TestSendFile(t *testing.T) {
	c, p := connected(t, nil)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("handed over"); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		line, oob := make([]byte, 4096), make([]byte, 4096)
		n, oobn, _, _, err := p.conn.ReadMsgUnix(line, oob)
		if err != nil {
			got <- err.Error()
			return
		}
		var cmd peerCommand
		if err := json.Unmarshal(line[:n], &cmd); err != nil {
			got <- err.Error()
			return
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			got <- fmt.Sprintf("control messages: %v %v", msgs, err)
			return
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err != nil || len(fds) != 1 {
			got <- fmt.Sprintf("fds: %v %v", fds, err)
			return
		}
		g := os.NewFile(uintptr(fds[0]), "received")
		defer g.Close()
		b := make([]byte, 64)
		m, _ := g.ReadAt(b, 0)
		p.answer(cmd, "{}")
		got <- string(cmd.Arguments) + " " + string(b[:m])
	}()
	if err := c.SendFile(within(t), "disk", f); err != nil {
		t.Fatal(err)
	}
	if got, want := <-got, `{"fdname":"disk"} handed over`; got != want {
		t.Errorf("peer got %q, want %q", got, want)
	}
}

func TestSendFileRefused(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := New(a, nil)
	defer c.Close()
	go func() {
		_, _ = b.Write([]byte(testGreeting))
		buf := make([]byte, 4096)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			var cmd peerCommand
			if json.Unmarshal(bytes.TrimSpace(buf[:n]), &cmd) == nil {
				_, _ = fmt.Fprintf(b, `{"return": {}, "id": %s}`, cmd.ID)
			}
		}
	}()
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	if err := c.SendFile(within(t), "x", os.Stdin); !errors.Is(err, errNoFiles) {
		t.Errorf("SendFile over a pipe = %v, want %v", err, errNoFiles)
	}
	if err := c.Execute(within(t), "stop", nil, nil); err != nil {
		t.Errorf("connection is not fine after it: %v", err)
	}
}

func TestDial(t *testing.T) {
	path := t.TempDir() + "/qmp"
	if _, err := Dial(within(t), path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Dial() without a server = %v, want %v", err, os.ErrNotExist)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "hello")
		_ = conn.Close()
	}()
	if _, err := Dial(within(t), path, nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("Dial() = %v, want %v", err, ErrProtocol)
	}
}

// BenchmarkExecute shows what one round trip costs beside the peer.
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
