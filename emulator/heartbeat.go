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
	// maxHeartbeats is how many of them are answered at once for one enclave, so
	// that none can keep another one from being heard. One is enough for init.
	maxHeartbeats = 4
	// maxWarnings is how many bad heartbeats of one enclave are logged.
	maxWarnings = 8
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
	open    map[uint32]int           // by CID: connections being answered
	bad     map[uint32]int           // by CID: bad heartbeats so far
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
		open:     map[uint32]int{},
		bad:      map[uint32]int{},
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
	delete(h.bad, cid)
}

func (h *heart) close() error {
	err := h.listener.Close()
	h.done.Wait()
	return err
}

func (h *heart) serve() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		// The switch, not the guest, says where a connection comes from.
		from, ok := c.RemoteAddr().(vsock.Addr)
		if !ok || !h.admit(from.CID) {
			c.Close()
			continue
		}
		h.done.Go(func() {
			defer h.dismiss(from.CID)
			defer c.Close()
			if err := h.answer(c, from.CID); err != nil && h.mayWarn(from.CID) {
				h.log.Warn("heartbeat refused", "from", from, "err", err)
			}
		})
	}
}

// admit counts a connection in, unless its enclave has too many already.
func (h *heart) admit(cid uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[cid] >= maxHeartbeats {
		return false
	}
	h.open[cid]++
	return true
}

// dismiss counts a connection out.
func (h *heart) dismiss(cid uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[cid]--; h.open[cid] == 0 {
		delete(h.open, cid)
	}
}

// mayWarn says whether one more bad heartbeat is worth a line.
func (h *heart) mayWarn(cid uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bad[cid]++
	return h.bad[cid] <= maxWarnings
}

// answer plays the parent's part on one connection.
func (h *heart) answer(c net.Conn, cid uint32) error {
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
	beat := h.waiting[cid]
	delete(h.waiting, cid)
	h.mu.Unlock()
	if beat == nil {
		return errors.New("nobody waits for it")
	}
	close(beat)
	return nil
}
