package vsock

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

// errorIs is errors.Is, and nil is nil.
func errorIs(err, want error) bool {
	if want == nil {
		return err == nil
	}
	return errors.Is(err, want)
}

// waitFor polls for a state of another goroutine that nothing announces.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// readyStreams is the number of streams that wait for a receive buffer.
func readyStreams(d *Device) int {
	d.rx.mu.Lock() // none is being served
	defer d.rx.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, a := range d.accounts {
		for s := a.ready.head; s != nil; s = s.next {
			n++
		}
	}
	return n
}

// Deadlines.
var (
	aLongTimeAgo = time.Unix(1, 0)
	never        = time.Time{}
)
