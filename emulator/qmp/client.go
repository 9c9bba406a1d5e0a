// Package qmp is a client of the QEMU Machine Protocol
// (docs/interop/qmp-spec.rst in QEMU's sources).
//
// A [Client] is a Monitor of github.com/digitalocean/go-qemu/qmp, so the typed
// calls of its raw package and the fakes of its qmptest package fit. That
// module's own client is not used: it hands out a buffer that it goes on
// writing to, dies on replies over 64 KiB, stops reading when nobody takes its
// events, and matches replies by their order alone.
//
// Here every command carries an id and a context, replies may be of any size up
// to a limit against broken peers, and events never hold up a reply.
package qmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	goqemu "github.com/digitalocean/go-qemu/qmp"
)

// Defaults of [Config].
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultRunTimeout     = 60 * time.Second
	DefaultMaxMessage     = 64 << 20 // QEMU's own limit for one token, qobject/json-lexer.c
	DefaultMaxEvents      = 1024
	DefaultMaxPending     = 1024
)

// Config holds what has a default. The zero value and a nil pointer are both
// fine.
type Config struct {
	// ConnectTimeout bounds [Client.Connect], which has no context.
	ConnectTimeout time.Duration

	// RunTimeout bounds [Client.Run], which has no context.
	RunTimeout time.Duration

	// MaxMessage is the size in bytes over which one message of the peer ends
	// the connection.
	MaxMessage int64

	// MaxEvents is how many events each [Subscription] holds.
	MaxEvents int

	// MaxPending is how many commands may wait for replies, those whose caller
	// gave up included.
	MaxPending int

	// Log gets every command and event at debug level. Arguments are left out:
	// they may hold secrets. Nil means no log.
	Log *slog.Logger
}

func (cfg *Config) withDefaults() Config {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = DefaultConnectTimeout
	}
	if c.RunTimeout <= 0 {
		c.RunTimeout = DefaultRunTimeout
	}
	if c.MaxMessage <= 0 {
		c.MaxMessage = DefaultMaxMessage
	}
	if c.MaxEvents <= 0 {
		c.MaxEvents = DefaultMaxEvents
	}
	if c.MaxPending <= 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// A Client is one connection to one QEMU. All methods may be called
// concurrently. A client whose connection ended cannot be used again.
type Client struct {
	conn net.Conn
	cfg  Config

	// writing serialises commands on the socket. It is a channel so that
	// waiting for it obeys a context.
	writing chan struct{}

	// done is closed when err is set. pumps counts the goroutines Close joins:
	// the reader and one per call of Events.
	done  chan struct{}
	pumps sync.WaitGroup

	// closing is closed by Close alone: then the pumps stop, while after a lost
	// connection they still deliver what is queued.
	closing   chan struct{}
	closeOnce sync.Once

	mu       sync.Mutex
	started  bool                       // guarded by mu: Connect was called
	greeted  chan struct{}              // closed by the reader after the greeting
	greeting Greeting                   // immutable once greeted is closed
	ready    bool                       // guarded by mu: capabilities are negotiated
	lastID   uint64                     // guarded by mu
	pending  map[uint64]*call           // guarded by mu
	subs     map[*Subscription]struct{} // guarded by mu
	err      error                      // guarded by mu: why the connection ended
}

var _ goqemu.Monitor = (*Client)(nil)

// A Greeting is what QEMU says first.
type Greeting struct {
	Version      goqemu.Version
	Capabilities []string // "oob" for one; the client enables none
}

// New makes a client of an open connection, which it then owns. Nothing is read
// or written before Connect.
func New(conn net.Conn, cfg *Config) *Client {
	return &Client{
		conn:    conn,
		cfg:     cfg.withDefaults(),
		writing: make(chan struct{}, 1),
		done:    make(chan struct{}),
		closing: make(chan struct{}),
		greeted: make(chan struct{}),
		pending: make(map[uint64]*call),
		subs:    make(map[*Subscription]struct{}),
	}
}

// NewFile is New for a socket held as a file, such as one end of a socketpair.
// It closes f, also when it fails.
func NewFile(f *os.File, cfg *Config) (*Client, error) {
	conn, err := net.FileConn(f)
	_ = f.Close() // FileConn works on a duplicate
	if err != nil {
		return nil, fmt.Errorf("qmp: use %s as a socket: %w", f.Name(), err)
	}
	return New(conn, cfg), nil
}

// Dial connects to a QEMU that listens on a unix socket and negotiates.
func Dial(ctx context.Context, path string, cfg *Config) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("qmp: %w", err)
	}
	c := New(conn, cfg)
	if err := c.ConnectContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Connect is ConnectContext with Config.ConnectTimeout.
func (c *Client) Connect() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.ConnectTimeout)
	defer cancel()
	return c.ConnectContext(ctx)
}

// ConnectContext waits for the greeting and leaves negotiation mode, with no
// capability enabled. It can be called once. A client that failed to connect is
// closed.
func (c *Client) ConnectContext(ctx context.Context) error {
	c.mu.Lock()
	if c.started || c.err != nil {
		err := c.err
		c.mu.Unlock()
		if err == nil {
			err = errors.New("already connected")
		}
		return fmt.Errorf("qmp: connect: %w", err)
	}
	c.started = true
	c.pumps.Add(1)
	c.mu.Unlock()
	go c.read()

	err := c.negotiate(ctx)
	if err != nil {
		_ = c.Close()
		return fmt.Errorf("qmp: connect: %w", err)
	}
	return nil
}

func (c *Client) negotiate(ctx context.Context) error {
	select {
	case <-c.greeted:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return fmt.Errorf("wait for the greeting: %w", ctx.Err())
	}
	if _, err := c.do(ctx, "qmp_capabilities", nil, nil); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	return nil
}

// Greeting is what QEMU said at Connect; the zero value before.
func (c *Client) Greeting() Greeting {
	select {
	case <-c.greeted:
		return c.greeting
	default:
		return Greeting{}
	}
}

// Done is closed when the connection has ended, for whichever reason.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the connection ended: an error wrapping [ErrClosed],
// [ErrDisconnected] or [ErrProtocol], or nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection, fails all pending calls and joins the client's
// goroutines. It may be called more than once.
func (c *Client) Close() error {
	c.closeOnce.Do(func() { close(c.closing) })
	err := c.fail(ErrClosed)
	c.pumps.Wait()
	return err
}

// Disconnect is Close, under the name go-qemu gives it.
func (c *Client) Disconnect() error { return c.Close() }

// fail ends the connection because of err. Only the first call has an effect;
// it returns the error of closing the socket.
func (c *Client) fail(err error) error {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil
	}
	c.err = err
	pending, subs := c.pending, c.subs
	c.pending, c.subs = nil, nil
	close(c.done)
	c.mu.Unlock()

	closeErr := c.conn.Close()
	for _, p := range pending {
		p.done <- reply{err: err}
	}
	for s := range subs {
		s.end(err)
	}
	return closeErr
}
