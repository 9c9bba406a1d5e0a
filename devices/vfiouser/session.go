package vfiouser

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/pci"
)

// Config has what is optional about [Serve]. Nil and the zero value work.
type Config struct {
	// Log receives refused requests as warnings, the first few of a connection,
	// and every request at debug level. Nil discards.
	Log *slog.Logger

	// AllowUnsealedMemory accepts guest memory whose file could shrink, see
	// guestmem.Options.
	AllowUnsealedMemory bool

	// NoWriteMultiple does not offer REGION_WRITE_MULTI. QEMU 10.1 and 10.2 take
	// the offer for a wish to queue every message in another thread.
	NoWriteMultiple bool

	// Messages, if not nil, reaches guest memory through the client while it is
	// connected.
	Messages *Messages
}

// maxWarnings is how many refused requests of one connection are worth a warning: a
// hostile client must not fill the log.
const maxWarnings = 100

// A session is the state of one connection. It belongs to the goroutine of Serve,
// except for its Bus.
type session struct {
	*stream
	f      *pci.Function
	cfg    Config
	log    *slog.Logger
	debug  bool
	warned int

	negotiated bool
	out        []byte // the reply: header and payload
	outFD      int    // goes with the reply; -1: none
	irqs       *interrupts
	memory     *guestmem.Window
}

// bus is the pci.Bus of a session.
type bus struct {
	*interrupts
	memory *guestmem.Window
}

func (b *bus) Memory() pci.Memory { return b.memory }

// Serve carries f over one connected vfio-user socket. It returns
//   - nil when the peer closed the connection,
//   - the error of ctx when that ended,
//   - a [*ProtocolError] when the peer broke the protocol in a way that could not be
//     answered,
//   - pci.ErrAttached when another transport carries f,
//   - another error when the socket failed.
//
// Serve takes ownership of conn. When it returns f is detached, every descriptor
// received is closed, guest memory is unmapped and no goroutine is left. f keeps its
// registers: a client that comes back, over a new connection, finds them as they were.
func Serve(ctx context.Context, conn *net.UnixConn, f *pci.Function, cfg *Config) (err error) {
	sock, err := newSocket(conn)
	if err != nil {
		return err
	}
	s := &session{
		stream: newStream(sock), f: f,
		out:    make([]byte, headerSize, headerSize+sizeRegion+4096),
		irqs:   newInterrupts(f),
		memory: guestmem.NewWindow(),
	}
	if cfg != nil {
		s.cfg = *cfg
	}
	if s.log = s.cfg.Log; s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.debug = s.log.Enabled(ctx, slog.LevelDebug)
	if err := f.Attach(&bus{s.irqs, s.memory}); err != nil {
		return errors.Join(fmt.Errorf("vfio-user: %w", err), s.memory.Close(), sock.close())
	}

	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		sock.shutdown() // ends the receive below
		close(ended)
	})
	defer func() {
		if !stop() {
			<-ended
			err = ctx.Err()
		}
		s.cfg.Messages.disconnect(s)
		s.irqs.resample.close() // calls the function
		f.Detach()
		s.irqs.close()
		s.stream.close()
		err = errors.Join(err, s.memory.Close(), sock.close())
	}()
	return s.loop()
}

// loop serves until the connection ends.
func (s *session) loop() error {
	var m message
	for {
		err := s.next(&m)
		if err == nil {
			err = s.serve(&m)
		}
		switch {
		case err == nil:
		case errors.Is(err, errGone):
			return nil
		default:
			return err
		}
	}
}

// serve carries one message out and sends what has to be sent.
func (s *session) serve(m *message) error {
	if m.isReply() {
		m.fds.Close()
		s.cfg.Messages.receive(s, m)
		return nil
	}
	s.out, s.outFD = s.out[:headerSize], -1
	fds := len(m.fds)
	err := s.handle(m)
	m.fds.Close() // what nobody took, before the client can know
	if s.debug {
		s.log.Debug("vfio-user request", "command", m.command, "id", m.id, "bytes", len(m.payload), "fds", fds, "err", err)
	}
	if err != nil {
		return s.refuse(m, err)
	}
	if !m.wantsReply() {
		return nil
	}
	putHeader(s.out, m.id, m.command, flagReply, 0)
	var oob []byte
	if s.outFD >= 0 {
		oob = unix.UnixRights(s.outFD)
	}
	return s.sock.send(s.out, oob)
}

// handle checks the form of a command and carries it out.
func (s *session) handle(m *message) error {
	var k *kind
	if int(m.command) < len(kinds) {
		k = &kinds[m.command]
	}
	switch {
	case k == nil || k.handle == nil:
		return ErrUnsupported
	case !s.negotiated && m.command != cmdVersion:
		return errNotFirst
	case len(m.payload) < k.min:
		return fmt.Errorf("%w: %d bytes of payload, want %d", ErrSize, len(m.payload), k.min)
	case m.fdErr != nil:
		return fmt.Errorf("%w: %w", ErrDescriptors, m.fdErr)
	case len(m.fds) > k.fds:
		return fmt.Errorf("%w: %d, at most %d expected", ErrDescriptors, len(m.fds), k.fds)
	}
	return k.handle(s, m)
}

// refuse sends the error reply, which has no payload, and ends a connection that
// did not come about.
func (s *session) refuse(m *message, err error) error {
	if s.warned < maxWarnings {
		s.warned++
		s.log.Warn("vfio-user request refused", "command", m.command, "err", err)
	}
	if m.wantsReply() {
		s.out = s.out[:headerSize]
		putHeader(s.out, m.id, m.command, flagReply|flagError, uint32(errnoOf(err)))
		if sendErr := s.sock.send(s.out, nil); sendErr != nil {
			return sendErr
		}
	}
	if !s.negotiated {
		return &ProtocolError{m.command.String(), err}
	}
	return nil
}

// reset is a reset of the whole function. What the client has set up, memory and
// interrupts, is its own business.
func (s *session) reset(*message) error {
	s.f.Reset()
	return nil
}

// errFeature is the reason for ENOTTY, which is what Linux answers for a feature it
// does not know.
var errFeature = errors.New("no such feature")

// feature refuses everything: all features are about migration.
func (s *session) feature(m *message) error {
	if len(m.payload) < 8 {
		return fmt.Errorf("%w: %d bytes of payload", ErrSize, len(m.payload))
	}
	return fmt.Errorf("%w: %w %d", ErrUnsupported, errFeature, binary.LittleEndian.Uint16(m.payload[4:]))
}
