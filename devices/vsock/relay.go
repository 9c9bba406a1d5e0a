package vsock

import (
	"sync"
	"time"
)

// relayTimeout is how long the called guest may take to answer a request of
// another guest. Linux gives up after 2 s by default without telling anybody.
const relayTimeout = 30 * time.Second

// relay connects d's guest with another guest. Each of them has a stream with
// us and its own credit; what one sends waits in the buffer of its stream, and
// is copied from there into the receive buffers of the other. The caller's
// RESPONSE is held back until the called guest sent its own, so that neither
// ever sees data on a connection that is not open. A guest whose driver does not
// run, because it boots or is gone, refuses: the caller can try again, which
// beats waiting for its own timeout.
func (d *Device) relay(k key, h *Header, guest *Device) bool {
	if !guest.rx.up.Load() {
		return false
	}
	mu := new(sync.Mutex)
	caller := newStream(d, k, stateAnswering, mu)
	called := newStream(guest, key{d.cid, k.guestPort, k.localPort}, stateRequested, mu)
	called.pending = pendRequest
	caller.send.update(h.BufAlloc, h.FwdCnt)

	mu.Lock()
	defer mu.Unlock()
	if d.add(caller) != nil {
		return false
	}
	if guest.add(called) != nil {
		caller.kill(nil, false)
		return false
	}
	caller.peer, called.peer = called, caller
	guest.enqueue(called)
	guest.arm(called, relayTimeout)
	return true
}
