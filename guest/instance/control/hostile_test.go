package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGuestAnswers(t *testing.T) {
	const ping = `{"v":1,"id":9,"ping":{}}` + "\n"
	const pong = `{"v":1,"re":9,"pong":{}}`
	unsupported := func(text string) string {
		return `{"v":1,"re":5,"error":{"code":"unsupported","message":"` + text + `"}}`
	}
	tests := []struct {
		name, in string
		want     []string // then pong
	}{
		{"empty line", "\n", nil},
		{"garbage", "\x00\xff{{{\n\n\n", nil},
		{"half a line before", `{"v":1,"id":3,"pi` + "\n", nil},
		{"second half of a line", `ng":{}}` + "\n", nil},
		{"an answer, as an echo is", pong + "\n", nil},
		{"no id", `{"v":1,"ping":{}}` + "\n", nil},
		{"negative id", `{"v":1,"id":-1,"ping":{}}` + "\n", nil},
		{"array", "[1,2]\n", nil},
		{"too long", `{"v":1,"id":3,"ping":{},"x":"` + strings.Repeat("x", MaxLine) + `"}` + "\n", nil},
		{"too long, with a request as its end", strings.Repeat("x", MaxLine) + `{"v":1,"id":3,"ping":{}}` + "\n", nil},
		{"much too long", strings.Repeat("y", 5*MaxLine) + "\n", nil},
		{"longest", `{"v":1,"id":5,"ping":{},"x":"` + strings.Repeat("x", MaxLine-32) + `"}` + "\n", []string{`{"v":1,"re":5,"pong":{}}`}},
		{"nothing asked", `{"v":1,"id":5}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"unknown", `{"v":1,"id":5,"reboot":{}}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"two at once", `{"v":1,"id":5,"ping":{},"quiesce":{}}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"wrong type", `{"v":1,"id":5,"devices":7}` + "\n", []string{unsupported("not a request that this version knows")}},
		{"other version", `{"v":2,"id":5,"ping":{}}` + "\n", []string{unsupported("protocol version 2, this is 1")}},
		{"unknown member", `{"v":1,"id":5,"ping":{"a":1},"b":2}` + "\n", []string{`{"v":1,"re":5,"pong":{}}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			write, read := raw(t, &fake{})
			write(tt.in)
			var got []string
			for range tt.want {
				got = append(got, read())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			write(ping)
			if got := read(); got != pong {
				t.Errorf("then ping: answer %s", got)
			}
		})
	}
}

func TestHostileGuest(t *testing.T) {
	ping := func(c *Client, ctx context.Context) error { return c.Ping(ctx) }
	resume := func(c *Client, ctx context.Context) error { _, err := c.Resume(ctx, goodResume()); return err }
	devices := func(c *Client, ctx context.Context) error { _, err := c.Devices(ctx); return err }
	const pong = `{"v":1,"re":RE,"pong":{}}` + "\n"
	ready := func(b, r string, up, cpus int) string {
		return fmt.Sprintf(`{"v":1,"re":RE,"ready":{"bootId":%q,"release":%q,"uptimeMs":%d,"cpus":%d}}`+"\n", b, r, up, cpus)
	}
	many := `{"v":1,"re":RE,"devices":[` + strings.Repeat(`{"bdf":"0000:00:00.0","id":"8086:29c0"},`, MaxDevices) + `{"bdf":"0000:00:00.0","id":"8086:29c0"}]}` + "\n"
	tests := []struct {
		name, answer string
		call         func(*Client, context.Context) error
		want         error // nil: works
	}{
		{"right", pong, ping, nil},
		{"after garbage", "\x00\xff\nxx}\n[]\n{}\n" + pong, ping, nil},
		{"after the end of an earlier line", `d":"x"}}` + "\n" + pong, ping, nil},
		{"after a line without end", strings.Repeat("x", 4*MaxLine) + "\n" + pong, ping, nil},
		{"after another's answer", `{"v":1,"re":1,"error":{"code":"failed","message":"x"}}` + "\n" + pong, ping, nil},
		{"answer to something else", `{"v":1,"re":RE,"quiesced":{}}` + "\n", ping, ErrProtocol},
		{"empty answer", `{"v":1,"re":RE}` + "\n", ping, ErrProtocol},
		{"version", `{"v":2,"re":RE,"pong":{}}` + "\n", ping, ErrProtocol},
		{"type", `{"v":1,"re":RE,"pong":7}` + "\n", ping, ErrProtocol},
		{"ready", ready(goodReady.BootID, "6.12", 1, 1), resume, nil},
		{"boot id", ready("x", "6.12", 1, 1), resume, ErrProtocol},
		{"release", ready(goodReady.BootID, "6 12", 1, 1), resume, ErrProtocol},
		{"no CPU", ready(goodReady.BootID, "6.12", 1, 0), resume, ErrProtocol},
		{"uptime", ready(goodReady.BootID, "6.12", -1, 1), resume, ErrProtocol},
		{"no ready", pong, resume, ErrProtocol},
		{"device", `{"v":1,"re":RE,"devices":[{"bdf":"x","id":"8086:29c0"}]}` + "\n", devices, ErrProtocol},
		{"driver", `{"v":1,"re":RE,"devices":[{"bdf":"0000:00:00.0","id":"8086:29c0","driver":"a/b"}]}` + "\n", devices, ErrProtocol},
		{"many devices", many, devices, ErrProtocol},
		{"no devices", pong, devices, ErrProtocol},
		{"silence", "", ping, context.DeadlineExceeded},
		{"garbage for ever", strings.Repeat("{\"v\":1}\n", 1000), ping, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := scripted(t, tt.answer)
			ctx := within(t)
			if errors.Is(tt.want, context.DeadlineExceeded) {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 30*time.Millisecond)
				defer cancel()
			}
			if err := tt.call(c, ctx); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestGuestErrorIsBounded(t *testing.T) {
	missing := strings.Repeat(`"`+strings.Repeat("m", 100)+`",`, 500)
	c := scripted(t, `{"v":1,"re":RE,"error":{"code":"\u0007","message":"`+strings.Repeat("e", 5000)+`","missing":[`+missing+`"x"]}}`+"\n")
	err := c.Ping(within(t))
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("error %v", err)
	}
	if got.Code != Failed || len(got.Message) > maxText || len(got.Missing) > MaxWants {
		t.Errorf("code %q, %d bytes, %d missing", got.Code, len(got.Message), len(got.Missing))
	}
}

func TestPortEnds(t *testing.T) {
	a, b := net.Pipe()
	f := &fake{block: true, entered: make(chan struct{}, 1)}
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), b, f) }()
	c := NewClient(a)
	done := make(chan error, 1)
	go func() { done <- c.Quiesce(within(t)) }()
	<-f.entered
	c.Close()
	if err := <-done; err == nil {
		t.Error("a call outlived its connection")
	}
	select {
	case err := <-served:
		if !errors.Is(err, io.EOF) {
			t.Errorf("Serve: %v, want EOF", err)
		}
	case <-time.After(patience):
		t.Fatal("Serve did not end with its port")
	}
}
