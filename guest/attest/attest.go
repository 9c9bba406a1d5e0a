// Package attest answers questions for attestation documents on a listener: the
// logic of the sample enclave application guest/cmd/attest. The wire format is
// package ask.
package attest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/guest/internal/accept"
)

const (
	maxConns = 64 // connections at a time; the next waits in the listener

	// idleTimeout bounds the time from one question of a client to the next,
	// and writeTimeout the time it takes to read an answer.
	idleTimeout  = 10 * time.Minute
	writeTimeout = 30 * time.Second
)

// A Source makes an attestation document over a nonce. It is called from
// several goroutines at once.
type Source func(nonce []byte) (document []byte, err error)

// Serve answers questions on connections of l with documents of source until
// ctx ends; then it closes l and all connections and returns nil when the last
// call of source has returned. It returns early, after the same cleanup, if l
// fails. An error of source is sent to the client and ends nothing.
//
// log receives what goes wrong with connections; nil discards it.
func Serve(ctx context.Context, l net.Listener, source Source, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	err := accept.Serve(ctx, l, maxConns, func(ctx context.Context, c net.Conn) {
		if err := serveConn(ctx, c, source); err != nil && ctx.Err() == nil {
			log.Warn("connection failed", "peer", c.RemoteAddr(), "err", err)
		}
	})
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return nil
}

// serveConn answers until the client closes it.
func serveConn(ctx context.Context, c net.Conn, source Source) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	for {
		if err := c.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
			return fmt.Errorf("set deadline: %w", err)
		}
		nonce, err := ask.ReadQuestion(c)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		document, err := source(nonce)
		if derr := c.SetWriteDeadline(time.Now().Add(writeTimeout)); derr != nil {
			return fmt.Errorf("set deadline: %w", derr)
		}
		if err != nil {
			err = ask.WriteRefusal(c, err.Error())
		} else {
			err = ask.WriteAnswer(c, document)
		}
		if err != nil {
			return err
		}
	}
}
