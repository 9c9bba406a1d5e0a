package vhostuser

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// Config has what is optional about [Serve]. Nil and the zero value work.
type Config struct {
	// Log receives refused requests and broken rings as warnings, and every
	// request at debug level. Nil discards.
	Log *slog.Logger

	// OnRingError is told when a ring stopped because the driver broke its
	// rules or the device failed on it. The guest sees a quiet device and the
	// connection goes on. It is called from the ring's goroutine or that of
	// Serve and must not block.
	OnRingError func(queue int, err error)

	// AllowUnsealedMemory accepts guest memory whose file could shrink, see
	// guestmem.Options.
	AllowUnsealedMemory bool
}

// A session is the state of one connection. It belongs to the goroutine of
// Serve.
type session struct {
	*transport
	dev virtio.Device
	cfg Config
	log *slog.Logger

	features uint64           // acknowledged
	protocol uint64           // acknowledged protocol features
	memory   *guestmem.Memory // nil before SET_MEM_TABLE
	rings    []*ring
}

// Serve carries dev over one connected vhost-user socket. It returns
//   - nil when the peer closed the connection,
//   - the error of ctx when that ended,
//   - a [*ProtocolError] when the peer broke the protocol in a way that could
//     not be answered,
//   - another error when the socket failed.
//
// Serve takes ownership of conn. When it returns, every queue has been stopped,
// every descriptor received is closed, guest memory is unmapped and no
// goroutine is left. It waits for the device to return from HandleQueue and
// StopQueue. dev is served by one Serve at a time.
func Serve(ctx context.Context, conn *net.UnixConn, dev virtio.Device, cfg *Config) (err error) {
	s := &session{transport: newTransport(conn), dev: dev}
	if cfg != nil {
		s.cfg = *cfg
	}
	if s.log = s.cfg.Log; s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for i := range dev.NumQueues() {
		s.rings = append(s.rings, &ring{index: i})
	}

	closed := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		_ = conn.Close() // ends the read below
		close(closed)
	})
	defer func() {
		if cancel() {
			_ = conn.Close() // replies are complete, nothing is buffered
		} else {
			<-closed
			err = ctx.Err()
		}
		if closeErr := s.close(); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
	}()

	var m message
	for {
		err := s.receive(&m)
		if err == nil {
			err = s.serve(&m)
		}
		m.fds.Close()
		switch {
		case errors.Is(err, errGone):
			return nil
		case err != nil:
			return err
		}
	}
}

// serve handles one request and sends what has to be sent.
func (s *session) serve(m *message) error {
	s.log.Debug("vhost-user request", "request", m.request, "bytes", len(m.payload), "fds", len(m.fds))
	k, known := kinds[m.request]
	reply, err := s.handle(m, k, known)
	switch ack := m.needReply && s.protocol&protocolReplyAck != 0 && !k.replies; {
	case err == nil && k.replies:
		return s.reply(m.request, reply)
	case err == nil && ack:
		return s.reply(m.request, u64(0))
	case err == nil:
		return nil
	case ack:
		s.log.Warn("vhost-user request refused", "request", m.request, "err", err)
		return s.reply(m.request, u64(1))
	case m.request == setConfig:
		// A front-end that does not ask does not want to know.
		s.log.Warn("vhost-user request ignored", "request", m.request, "err", err)
		return nil
	}
	// The peer believes that it was done, or waits for an answer that does
	// not exist: there is no way on.
	return &ProtocolError{m.request.String(), err}
}

// handle checks the form of a request and carries it out.
func (s *session) handle(m *message, k kind, known bool) (reply []byte, err error) {
	switch {
	case !known:
		return nil, ErrUnsupported
	case len(m.payload) < k.min || len(m.payload) > k.max:
		return nil, fmt.Errorf("%w: %d bytes", ErrSize, len(m.payload))
	case len(m.fds) > k.fds:
		return nil, fmt.Errorf("%w: %d, at most %d expected", ErrDescriptors, len(m.fds), k.fds)
	}
	return k.handle(s, m)
}

// close stops everything and gives everything back.
func (s *session) close() error {
	for _, r := range s.rings {
		s.halt(r)
		r.dropKick()
		r.call.Close()
		r.errs.Close()
	}
	if s.memory == nil {
		return nil
	}
	return s.memory.Close()
}

// ring returns the ring that index i names.
func (s *session) ring(i uint32) (*ring, error) {
	if uint64(i) >= uint64(len(s.rings)) {
		return nil, fmt.Errorf("%w: %d of %d", ErrQueueIndex, i, len(s.rings))
	}
	return s.rings[i], nil
}

// setMemTable replaces the memory. Rings that run are stopped meanwhile, so
// that no slice of the old table is in use when it is unmapped; a table that
// cannot be mapped changes nothing.
func (s *session) setMemTable(m *message) ([]byte, error) {
	n := int64(binary.LittleEndian.Uint32(m.payload))
	if int64(len(m.payload)) != tableHead+n*sizeRegion {
		return nil, fmt.Errorf("%w: %d bytes for %d regions", ErrSize, len(m.payload), n)
	}
	if n != int64(len(m.fds)) {
		return nil, fmt.Errorf("%w: %d for %d regions", ErrDescriptors, len(m.fds), n)
	}
	regions := make([]guestmem.Region, n)
	for i := range regions {
		p := m.payload[tableHead+i*sizeRegion:]
		regions[i] = guestmem.Region{
			GPA:    binary.LittleEndian.Uint64(p[0:]),
			Size:   binary.LittleEndian.Uint64(p[8:]),
			User:   binary.LittleEndian.Uint64(p[16:]),
			Offset: binary.LittleEndian.Uint64(p[24:]),
			FD:     m.fds[i],
		}
	}
	memory, err := guestmem.Map(regions, guestmem.Options{AllowUnsealed: s.cfg.AllowUnsealedMemory})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMemory, err)
	}
	for _, r := range s.rings {
		s.halt(r)
	}
	old := s.memory
	s.memory = memory
	for _, r := range s.rings {
		s.start(r)
	}
	if old == nil {
		return nil, nil
	}
	return nil, old.Close()
}
