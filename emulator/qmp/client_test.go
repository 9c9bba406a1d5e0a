package qmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
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
// TestPeerStopsReading fills the socket: a command that was cut off ends the
// connection, one that was never begun does not.
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
