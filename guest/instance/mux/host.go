package mux

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A Host opens streams over a connected port. Its methods may be called from any
// goroutine.
type Host struct {
	m     *mux
	hello sync.Once

	mu sync.Mutex
	id uint32 // of the last stream
}

// ErrRefused says that nobody takes streams in the guest: the agent does not run,
// or has too many.
var ErrRefused = errors.New("the guest refused the stream")

// ErrClosed says that the port has ended, and with it the machine or its Host.
var ErrClosed = errClosed

// NewHost begins a conversation over a connected port, which the Host owns. All
// streams of an earlier one end at the first Dial. A guest that was not restored
// yet is not written to.
func NewHost(conn net.Conn) *Host { return newHost(conn, keepAlive) }

func newHost(conn net.Conn, every time.Duration) *Host {
	h := &Host{m: newMux(conn)}
	// Somewhere else than where a conversation before the snapshot left off.
	var b [4]byte
	_, _ = rand.Read(b[:])
	h.id = binary.LittleEndian.Uint32(b[:])
	h.m.wg.Go(func() { _ = h.m.receive(h.handle) }) // how it ended shows in each stream
	h.m.wg.Go(func() { h.keepAlive(every) })
	return h
}

// Dial opens a stream. Until ctx ends it waits for the guest, which may not run. A
// stream is a net.Conn whose Close closes both directions, after what was written.
func (h *Host) Dial(ctx context.Context) (net.Conn, error) {
	const op = "open stream to guest agent"
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	h.mu.Lock()
	h.id++
	id := h.id
	h.mu.Unlock()
	// Writing may block for as long as the guest does not read.
	s, err := h.m.add(id, func() {
		h.hello.Do(func() { h.m.send(kindHello, 0, nil) })
		h.m.send(kindOpen, id, []byte{version})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	select {
	case <-s.opened:
		return s.user, nil
	case <-s.over:
		err = ErrRefused
		h.m.mu.Lock()
		if h.m.closed {
			err = ErrClosed
		}
		h.m.mu.Unlock()
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = s.user.Close()
	return nil, fmt.Errorf("%s: %w", op, err)
}

// handle never writes.
func (h *Host) handle(k kind, id uint32, payload []byte) {
	if k != kindOpened {
		h.m.both(k, id, payload)
	} else if s := h.m.stream(id); s != nil {
		s.accept()
	}
}

// keepAlive asks for each stream whether the guest still knows it.
func (h *Host) keepAlive(every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	var ids []uint32
	for {
		select {
		case <-t.C:
		case <-h.m.done:
			return
		}
		ids = h.m.ids(ids[:0])
		for _, id := range ids {
			h.m.send(kindCredit, id, []byte{0, 0, 0, 0})
		}
	}
}

// Close ends all streams and closes the port.
func (h *Host) Close() error {
	err := h.m.close()
	h.m.wg.Wait()
	return err
}
