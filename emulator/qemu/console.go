package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// consoleBacklog is how much of a console is kept in memory.
	consoleBacklog = 64 << 10

	// inputTimeout is how long a guest may leave its serial input unread.
	inputTimeout = 5 * time.Second
)

// A Console is a guest's serial port. It is read all the time, whoever listens,
// so that the guest never waits for us. The last 64 KiB stay in memory, also
// after the guest's end. All methods may be called concurrently.
type Console struct {
	conn net.Conn
	done chan struct{} // closed when the reader has ended

	panicked chan struct{} // closed at the first Finding

	mu      sync.Mutex
	changed sync.Cond // on mu: bytes came, or the end
	ring    *ring     // guarded by mu
	ended   bool      // guarded by mu
	log     *logFile  // guarded by mu
	scan    scanner   // guarded by mu
	finding *Finding  // guarded by mu
}

// newConsole reads conn until its end. The console owns conn and log.
func newConsole(conn net.Conn, log *logFile) *Console {
	c := &Console{
		conn:     conn,
		done:     make(chan struct{}),
		panicked: make(chan struct{}),
		ring:     newRing(consoleBacklog),
		log:      log,
	}
	c.changed.L = &c.mu
	go c.read()
	return c
}

func (c *Console) read() {
	defer close(c.done)
	buf := make([]byte, 16<<10)
	for {
		n, err := c.conn.Read(buf)
		c.mu.Lock()
		c.take(buf[:n])
		if err != nil {
			c.ended = true
			c.log.close()
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take files away what the guest printed.
//
// Preconditions: c.mu is held.
func (c *Console) take(p []byte) {
	c.ring.write(p)
	c.log.write(p)
	if c.finding != nil {
		return
	}
	if f := c.scan.write(p); f != nil {
		c.finding = f
		close(c.panicked)
	}
}

// close ends the reader, which first takes what QEMU wrote before its own end.
func (c *Console) close() {
	// QEMU's end is closed by now, so the reader comes to it by itself. The
	// deadline is for a descriptor that somebody else still holds.
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Second))
	<-c.done
	_ = c.conn.Close()
}

// Write types at the guest. It fails after 5 s with os.ErrDeadlineExceeded if
// the guest does not read.
func (c *Console) Write(p []byte) (int, error) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(inputTimeout))
	n, err := c.conn.Write(p)
	if err != nil {
		err = fmt.Errorf("qemu: console: %w", err)
	}
	return n, err
}

// Tail returns the last n bytes the guest printed, at most 64 KiB. They come
// from the guest: see [Printable].
func (c *Console) Tail(n int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ring.tail(n)
}

// Finding is the first sign of a crash the guest printed, nil if none.
func (c *Console) Finding() *Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finding
}

// Panicked is closed at the first Finding.
func (c *Console) Panicked() <-chan struct{} { return c.panicked }

// Follow returns a reader of what the guest printed lately and goes on to print,
// for live viewing. Reading ends with io.EOF at the console's end, and with ctx's
// error when that ends. A follower that is too slow loses the middle, and holds
// up nobody.
func (c *Console) Follow(ctx context.Context) *Follower {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Follower{c: c, ctx: ctx, off: c.ring.start()}
}

// A Follower is one reader of a console. It is for one goroutine at a time.
type Follower struct {
	c       *Console
	ctx     context.Context
	off     int64
	skipped int64
}

// Read implements io.Reader.
func (f *Follower) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c := f.c
	stop := context.AfterFunc(f.ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.ring.end == f.off {
		if c.ended {
			return 0, io.EOF
		}
		if err := f.ctx.Err(); err != nil {
			return 0, err
		}
		c.changed.Wait()
	}
	if start := c.ring.start(); start > f.off {
		f.skipped += start - f.off
	}
	n, next := c.ring.readAt(p, f.off)
	f.off = next
	return n, nil
}

// Skipped is how many bytes this follower was too slow for.
func (f *Follower) Skipped() int64 { return f.skipped }

// ErrConsoleEnded is returned by WaitFor when the guest ended first.
var ErrConsoleEnded = errors.New("console ended")

// WaitFor waits until the guest has printed text, lately or from now on.
func (c *Console) WaitFor(ctx context.Context, text string) error {
	f := c.Follow(ctx)
	var window []byte
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		window = append(window, buf[:n]...)
		if bytes.Contains(window, []byte(text)) {
			return nil
		}
		if keep := len(text) - 1; len(window) > keep {
			window = append(window[:0], window[len(window)-keep:]...)
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("qemu: wait for %q: %w", text, ErrConsoleEnded)
		}
		if err != nil {
			return fmt.Errorf("qemu: wait for %q: %w", text, err)
		}
	}
}
