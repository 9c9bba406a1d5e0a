package qemu

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestConsoleInput(t *testing.T) {
	p := startFake(t, "run")
	if _, err := p.Console().Write([]byte("typed\n")); err != nil {
		t.Fatal(err)
	}
	if err := p.Console().WaitFor(within(t), "typed\n"); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	p := startFake(t, "run")
	if err := p.Console().WaitFor(within(t), "6.12.0\r\n"); err != nil {
		t.Fatal(err)
	}
	// Who comes late gets the backlog, then what follows, then the end.
	late := p.Console().Follow(within(t))
	buf := make([]byte, 22)
	if _, err := io.ReadFull(late, buf); err != nil || string(buf) != "Linux version 6.12.0\r\n" {
		t.Errorf("backlog %q, %v", buf, err)
	}
	if _, err := p.Console().Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(late, buf[:4]); err != nil || string(buf[:4]) != "more" {
		t.Errorf("live %q, %v", buf[:4], err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	waiting := p.Console().Follow(ctx)
	waiting.off = late.off
	time.AfterFunc(20*time.Millisecond, cancel)
	if n, err := waiting.Read(buf); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Read() = %d, %v; want %v", n, err, context.Canceled)
	}
	_ = p.Kill()
	rest, err := io.ReadAll(late)
	if err != nil || len(rest) != 0 {
		t.Errorf("at the end %q, %v", rest, err)
	}
	if err := p.Console().WaitFor(within(t), "never"); !errors.Is(err, ErrConsoleEnded) {
		t.Errorf("WaitFor() = %v, want %v", err, ErrConsoleEnded)
	}
	if err := p.Console().WaitFor(within(t), "version"); err != nil {
		t.Errorf("WaitFor() of what is there = %v", err)
	}
}

func TestFloodingGuest(t *testing.T) {
	cfg := fakeConfig(t, "flood")
	cfg.LogLimit = 1000
	p, err := Start(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := p.Console()
	slow := c.Follow(within(t))
	total := func() int64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.ring.end
	}
	// The guest may have printed any amount before there was a follower.
	enough := slow.off + 10*consoleBacklog
	for deadline := time.Now().Add(patience); total() < enough; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the guest waits")
		}
	}
	if _, err := slow.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if slow.Skipped() < 9*consoleBacklog {
		t.Errorf("slow follower skipped %d bytes", slow.Skipped())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(cfg.Dir, "console.log"))
	if err != nil || st.Size() > 1200 {
		t.Errorf("console.log has %d bytes, %v", st.Size(), err)
	}
	if n := len(c.Tail(1 << 30)); n != consoleBacklog {
		t.Errorf("tail of %d bytes", n)
	}
}
