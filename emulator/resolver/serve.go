package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// maxConns is how many connections are served at once; more wait in the backlog of
// the listener.
const maxConns = 64

// patience is how long a client may take over one query and its answer, and may
// keep a connection on which it asks nothing (RFC 7766 section 6.2.3 asks for a few
// seconds).
const patience = 10 * time.Second

var errOPT = errors.New("EDNS record is malformed or there is more than one")

// Serve answers what comes over the connections of l until ctx ends, and closes l
// and the connections. It returns nil after ctx has ended or l was closed, else
// the error of Accept.
func (r *Resolver) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	limited := netutil.LimitListener(l, maxConns)
	for {
		c, err := limited.Accept()
		if err != nil {
			_ = l.Close()
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("serve DNS on %v: %w", l.Addr(), err)
		}
		wg.Go(func() { _ = r.ServeConn(ctx, c) }) // how one of many clients ended
	}
}

// ServeConn answers the queries of one connection, one after the other, and closes
// it. The error is nil when the client has ended it between two queries, or ctx
// has ended.
func (r *Resolver) ServeConn(ctx context.Context, c net.Conn) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	err := r.converse(c)
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// converse returns io.EOF when the client has no further query.
func (r *Resolver) converse(c net.Conn) error {
	var buf []byte
	for {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head[:]))
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(c, buf); err != nil {
			return noEOF(err)
		}
		answer, ok := r.Answer(buf)
		if !ok {
			return errors.New("not a DNS query")
		}
		// In one write: two would be two packets (RFC 7766 section 8).
		out := make([]byte, 2, 2+len(answer))
		binary.BigEndian.PutUint16(out, uint16(len(answer)))
		if _, err := c.Write(append(out, answer...)); err != nil {
			return err
		}
	}
}

// noEOF keeps the end in the middle of a query from being an orderly one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
