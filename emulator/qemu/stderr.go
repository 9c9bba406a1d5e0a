package qemu

import "sync"

// stderrBacklog is how much of QEMU's own messages is kept in memory.
const stderrBacklog = 16 << 10

// A tail is a writer that keeps the last bytes, and all of them in a file.
type tail struct {
	mu   sync.Mutex
	ring *ring    // guarded by mu
	log  *logFile // guarded by mu
}

func newTail(log *logFile) *tail { return &tail{ring: newRing(stderrBacklog), log: log} }

// Write never fails and never waits for anything but the disk.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring.write(p)
	t.log.write(p)
	return len(p), nil
}

// Tail returns the last n bytes.
func (t *tail) Tail(n int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ring.tail(n)
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.close()
}
