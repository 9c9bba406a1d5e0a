package channel

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// MaxFrame bounds the content of a frame, in bytes.
const MaxFrame = 64 << 10

// ErrProtocol means that the other side does not keep to the protocol.
var ErrProtocol = errors.New("the other side does not speak the protocol of attested channels")

// A Conn is a session in which frames can be exchanged. It is safe for concurrent
// use: one goroutine sends while another receives, and several that do the same wait
// for their turn, no longer than their contexts last.
type Conn struct {
	tls    *tls.Conn
	result *attestation.Result

	sending, receiving turn
}

func newConn(session *tls.Conn, result *attestation.Result) *Conn {
	return &Conn{tls: session, result: result, sending: make(turn, 1), receiving: make(turn, 1)}
}

// A turn is had by one goroutine at a time.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) leave() { <-t }

// Result is the outcome of the verification, which accepted; nil on the server's
// side.
func (c *Conn) Result() *attestation.Result { return c.result }

// Send sends one frame of at most [MaxFrame] bytes. After an error other than one
// about the length the session is of no more use.
func (c *Conn) Send(ctx context.Context, frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("send frame: %d bytes, allowed are %d", len(frame), MaxFrame)
	}
	if err := c.sending.take(ctx); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	defer c.sending.leave()
	stop, err := bound(ctx, c.tls.SetWriteDeadline)
	if err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	defer stop()
	message := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(frame)), uint32(len(frame)))
	if _, err := c.tls.Write(append(message, frame...)); err != nil {
		return fmt.Errorf("send frame: %w", cause(ctx, err))
	}
	return nil
}

// Receive returns the next frame. The error is io.EOF if the session ended between
// two frames: the other side closed it, or somebody between cut the connection,
// which nothing tells apart. It is io.ErrUnexpectedEOF in a frame, and matches [ErrProtocol] if a frame is too long.
// After any error the session is of no more use.
func (c *Conn) Receive(ctx context.Context) ([]byte, error) {
	if err := c.receiving.take(ctx); err != nil {
		return nil, fmt.Errorf("receive frame: %w", err)
	}
	defer c.receiving.leave()
	stop, err := bound(ctx, c.tls.SetReadDeadline)
	if err != nil {
		return nil, fmt.Errorf("receive frame: %w", err)
	}
	defer stop()
	frame, err := readFrame(c.tls)
	if err == nil || err == io.EOF {
		return frame, err
	}
	return nil, fmt.Errorf("receive frame: %w", cause(ctx, err))
}

// Close ends the session and closes the connection below it.
func (c *Conn) Close() error { return c.tls.Close() }

// LocalAddr and RemoteAddr are those of the connection below.
func (c *Conn) LocalAddr() net.Addr  { return c.tls.LocalAddr() }
func (c *Conn) RemoteAddr() net.Addr { return c.tls.RemoteAddr() }

// readFrame returns io.EOF only if the stream ended before the frame began.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes, allowed are %d", ErrProtocol, n, MaxFrame)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return frame, nil
}

// past is a deadline that makes what waits return at once.
var past = time.Unix(1, 0)

// bound has an operation end when ctx does, by the deadline that set sets. stop
// must be called when the operation is over; it does not clear the deadline, since
// every operation sets its own.
func bound(ctx context.Context, set func(time.Time) error) (stop func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline() // zero is none
	if err := set(deadline); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	over := context.AfterFunc(ctx, func() {
		defer close(done)
		set(past)
	})
	return func() {
		if !over() {
			<-done // so that it cannot fall into the next operation
		}
	}, nil
}

// misspoken has what package ask says of an impossible length match [ErrProtocol].
func misspoken(err error) error {
	if errors.Is(err, ask.ErrTooLong) {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return err
}

// cause is why an operation failed: the end of ctx rather than the deadline that
// follows from it.
func cause(ctx context.Context, err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := ctx.Deadline(); ok {
			return context.DeadlineExceeded // the connection's clock was a little faster
		}
	}
	return err
}
