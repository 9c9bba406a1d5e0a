package emulator

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
)

const (
	// heartbeatWait bounds one heartbeat connection, before scaling.
	heartbeatWait = 10 * time.Second
	// maxHeartbeats is how many of them are answered at once.
	maxHeartbeats = 64
)

// A heart answers the heartbeat of every enclave of a Host, as nitro-cli on the
// parent instance would (eif_loader/src/lib.rs), and tells who has beaten.
type heart struct {
	listener net.Listener
	wait     time.Duration
	log      *slog.Logger
	done     sync.WaitGroup

	mu      sync.Mutex
	waiting map[uint32]chan struct{} // by CID; closed at the heartbeat
}

func newHeart(sw *vsock.Switch, scale float64, log *slog.Logger) (*heart, error) {
	l, err := sw.Listen(vsock.CIDParent, ports.Heartbeat)
	if err != nil {
		return nil, fmt.Errorf("listen for heartbeats: %w", err)
	}
	h := &heart{
		listener: l,
		wait:     time.Duration(float64(heartbeatWait) * scale),
		log:      log,
		waiting:  map[uint32]chan struct{}{},
	}
	h.done.Go(h.serve)
	return h, nil
}

// expect gives a channel that is closed when the enclave with this CID has sent
// its heartbeat and got it back.
func (h *heart) expect(cid uint32) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	beat := make(chan struct{})
	h.waiting[cid] = beat
	return beat
}

// forget undoes expect.
func (h *heart) forget(cid uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting, cid)
}

func (h *heart) close() error {
	err := h.listener.Close()
	h.done.Wait()
	return err
}

func (h *heart) serve() {
	slots := make(chan struct{}, maxHeartbeats)
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close() // someone holds them all open
			continue
		}
		h.done.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			if err := h.answer(c); err != nil {
				h.log.Warn("heartbeat refused", "from", c.RemoteAddr(), "err", err)
			}
		})
	}
}

func (h *heart) answer(c net.Conn) error {
	from, ok := c.RemoteAddr().(vsock.Addr)
	if !ok {
		return fmt.Errorf("address %v is no vsock address", c.RemoteAddr())
	}
	if err := c.SetDeadline(time.Now().Add(h.wait)); err != nil {
		return err
	}
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if b[0] != ports.HeartbeatByte {
		return fmt.Errorf("byte is %#x; allowed is %#x", b[0], ports.HeartbeatByte)
	}
	if _, err := c.Write(b[:]); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	h.mu.Lock()
	beat := h.waiting[from.CID]
	delete(h.waiting, from.CID)
	h.mu.Unlock()
	if beat == nil {
		return errors.New("nobody waits for it")
	}
	close(beat)
	return nil
}
