package linklocal

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// maxQuery bounds a query in bytes. Real ones have less than 300, for a name
	// has at most 255.
	maxQuery = 4096

	// maxDatagram is how much every client takes (RFC 1035 section 4.2.1). Clients
	// that take more do not get more, but ask again by TCP.
	maxDatagram = 512
)

// datagrams answers the queries that come to p, until ctx ends.
func (r *relay) datagrams(ctx context.Context, p net.PacketConn) {
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	defer stop()
	defer p.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxQueries)
	buf := make([]byte, maxQuery)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			if !r.goOn(ctx, err) {
				return
			}
			continue
		}
		if n == len(buf) {
			continue // its end may be missing
		}
		select {
		case places <- struct{}{}:
		default:
			continue
		}
		query := append([]byte(nil), buf[:n]...)
		wg.Go(func() {
			defer func() { <-places }()
			if answer, err := r.ask(ctx, query); err == nil {
				_, _ = p.WriteTo(answer, from) // a client that has gone
			}
		})
	}
}

// ask puts one query to the Host. What does not work out is no answer: that there
// is none is what clients of DNS are prepared for.
func (r *relay) ask(ctx context.Context, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	c, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, err := exchange(c, query)
	if err != nil || len(answer) <= maxDatagram {
		return answer, err
	}
	return truncate(answer)
}

// exchange sends one message over a stream and returns the next one.
func exchange(c io.ReadWriter, query []byte) ([]byte, error) {
	out := make([]byte, 2, 2+len(query))
	binary.BigEndian.PutUint16(out, uint16(len(query)))
	if _, err := c.Write(append(out, query...)); err != nil {
		return nil, err
	}
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

var errQuestions = errors.New("answer has more than one question")

// truncate leaves the header and the question of an answer, and says that there is
// more (RFC 2181 section 9).
func truncate(answer []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil {
		return nil, err
	}
	questions, err := p.AllQuestions()
	if err != nil {
		return nil, err
	}
	if len(questions) > 1 {
		return nil, errQuestions
	}
	h.Truncated = true
	m := dnsmessage.Message{Header: h, Questions: questions}
	return m.Pack()
}
