package vhostuser_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vhostuser"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// TestKickBeforeEnable is the kernel's NSM driver: it notifies in its probe,
// and QEMU passes the kick on before the final call descriptor and before the
// ring is enabled.
func TestKickBeforeEnable(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	f := connect(t, dev, nil)
	f.negotiate(1)
	f.send(setFeatures, u64(featLegacy))
	f.send(setMemTable, wholeRAM(), f.mem)
	q := f.newQueue(0, 64, featLegacy)
	head := q.Add([][]byte{[]byte("early")}, []int{5})
	q.kick.set()
	q.setUp(0)
	f.sync()
	if got := dev.calls(); got != nil {
		t.Fatalf("device called before SET_VRING_ENABLE: %q", got)
	}
	if got := q.call.count(); got != 0 {
		t.Errorf("%d interrupts before SET_VRING_ENABLE", got)
	}
	q.enable(1)
	if got := q.expect(head); got != "EARLY" {
		t.Errorf("answer %q", got)
	}
}

// TestAvailableBeforeEnable has no kick at all: the look at SET_VRING_ENABLE
// must find the chain.
func TestAvailableBeforeEnable(t *testing.T) {
	checkLeaks(t)
	f := connect(t, newEcho(t, 1), nil)
	f.negotiate(1)
	f.send(setFeatures, u64(featAll))
	f.send(setMemTable, wholeRAM(), f.mem)
	q := f.newQueue(0, 64, featAll)
	head := q.Add([][]byte{[]byte("early")}, []int{5})
	q.setUp(0)
	q.enable(1)
	if got := q.expect(head); got != "EARLY" {
		t.Errorf("answer %q", got)
	}
}

// TestCallReplaced: every new call descriptor of a ring that may have used the
// old one is signalled once.
func TestCallReplaced(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	f := connect(t, dev, nil)
	f.negotiate(1)
	f.send(setFeatures, u64(featAll))
	f.send(setMemTable, wholeRAM(), f.mem)
	q := f.newQueue(0, 64, featAll)
	q.setUp(0)
	f.send(setVringCall, u64(0), q.call.fd)
	f.sync()
	if got := q.call.count(); got != 0 {
		t.Errorf("%d signals on a ring that nobody has looked at", got)
	}
	q.enable(1)
	for i := range 3 {
		old := q.call
		q.call = newEvent(t)
		f.send(setVringCall, u64(0), q.call.fd)
		f.sync()
		if got := q.call.count(); got != 1 {
			t.Errorf("replacement %d: %d signals, want 1", i, got)
		}
		if got := q.exchange("x"); got != "X" {
			t.Errorf("answer %q", got)
		}
		if got := old.count(); got != 0 {
			t.Errorf("replacement %d: %d signals on the old descriptor", i, got)
		}
	}
	// While it is disabled, too: the interrupts of before may be lost.
	q.enable(0)
	q.call = newEvent(t)
	f.send(setVringCall, u64(0), q.call.fd)
	f.sync()
	if got := q.call.count(); got != 1 {
		t.Errorf("while disabled: %d signals, want 1", got)
	}
}

// TestCallWithoutDescriptor is a front-end that polls the used ring.
func TestCallWithoutDescriptor(t *testing.T) {
	checkLeaks(t)
	f := connect(t, newEcho(t, 1), nil)
	q := f.running(1, 64, featLegacy)[0]
	if got := f.acked(setVringCall, u64(noFD)); got != 0 {
		t.Fatalf("SET_VRING_CALL: %d", got)
	}
	q.Add([][]byte{[]byte("quiet")}, []int{5})
	q.kick.set()
	for end := time.Now().Add(wait); ; {
		used := q.Used()
		if len(used) == 1 {
			if got := string(used[0].In[0]); got != "QUIET" {
				t.Errorf("answer %q", got)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("no answer")
		}
		f.sync()
	}
	if got := q.call.count(); got != 0 {
		t.Errorf("%d signals on the descriptor that was taken away", got)
	}
}

// TestWithoutProtocolFeatures is an old front-end: rings are enabled by
// SET_FEATURES without bit 30 and run from their kick on.
func TestWithoutProtocolFeatures(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	f := connect(t, dev, nil)
	f.send(setOwner, nil)
	f.send(setFeatures, u64(virtio.FeatureVersion1))
	f.send(setMemTable, wholeRAM(), f.mem)
	q := f.newQueue(0, 64, virtio.FeatureVersion1)
	q.setUp(0)
	if got := q.exchange("old"); got != "OLD" {
		t.Errorf("answer %q", got)
	}
	if diff := cmp.Diff(state(0, 1), f.ask(getVringBase, state(0, 0))); diff != "" {
		t.Errorf("base (-want +got):\n%s", diff)
	}
	q.setUp(1)
	if got := q.exchange("again"); got != "AGAIN" {
		t.Errorf("answer %q", got)
	}
}

// TestDisable: a disabled ring is not processed, and goes on where it was.
func TestDisable(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	f := connect(t, dev, nil)
	q := f.running(1, 64, featAll)[0]
	for i := range 3 {
		if got := q.exchange("on"); got != "ON" {
			t.Errorf("answer %q", got)
		}
		q.enable(0)
		f.sync()
		head := q.Add([][]byte{[]byte("off")}, []int{3})
		q.kick.set()
		f.sync()
		if used := q.Used(); used != nil {
			t.Fatalf("round %d: disabled ring was processed: %v", i, used)
		}
		q.enable(1)
		if got := q.expect(head); got != "OFF" {
			t.Errorf("answer %q", got)
		}
	}
	f.send(resetOwner, nil)
	f.sync()
	if dev.running(0) {
		t.Error("RESET_OWNER did not disable the ring")
	}
}

// TestBaseWhileHandling: the answer to GET_VRING_BASE comes after the device
// has returned, and agrees with what it took, which is all that was offered
// before: a guest that resets has its last words heard although nobody came to
// its kick.
func TestBaseWhileHandling(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	dev.gate = make(chan struct{})
	f := connect(t, dev, nil)
	q := f.running(1, 64, featAll)[0] // now in the first HandleQueue
	head := q.Add([][]byte{[]byte("slow")}, []int{4})
	f.write(raw(getVringBase, 1, state(0, 0)))
	fds := []unix.PollFd{{Fd: socketFD(t, f), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 50); n != 0 || err != nil {
		t.Fatalf("GET_VRING_BASE answered while the device was busy: %d, %v", n, err)
	}
	close(dev.gate)
	if diff := cmp.Diff(state(0, 1), f.answer(getVringBase)); diff != "" {
		t.Errorf("base (-want +got):\n%s", diff)
	}
	if got := q.expect(head); got != "SLOW" {
		t.Errorf("answer %q to what was offered before the stop", got)
	}
	q.setUp(1)
	if got := q.expect(q.Add([][]byte{[]byte("next")}, []int{4})); got != "NEXT" {
		t.Errorf("answer %q after restart", got)
	}
}

// TestDriverFeedsForEver: a device that drains its ring gives it back although
// there is always another chain.
func TestDriverFeedsForEver(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	var feed atomic.Pointer[func()] // handed to the device's goroutine
	fed := make(chan struct{}, 1)
	dev.feed = func() {
		(*feed.Load())()
		select {
		case fed <- struct{}{}:
		default:
		}
	}
	f := connect(t, dev, nil)
	f.negotiate(1)
	f.send(setFeatures, u64(featAll))
	f.send(setMemTable, wholeRAM(), f.mem)
	q := f.newQueue(0, 64, featAll)
	head := q.Prepare([][]byte{[]byte("more")}, []int{4})
	q.Expose(head)
	again := func() { q.Expose(head) }
	feed.Store(&again)
	q.setUp(0)
	q.enable(1)
	<-fed
	f.ask(getVringBase, state(0, 0)) // fails after 10 s
}

// TestPushedBeforeStop: what the device pushed is returned to the driver at the
// latest when the ring stops.
func TestPushedBeforeStop(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	dev.lazy = make(chan struct{}, 1)
	f := connect(t, dev, nil)
	f.negotiate(1)
	f.send(setFeatures, u64(featAll))
	f.send(setMemTable, wholeRAM(), f.mem)
	q := f.newQueue(0, 64, featAll)
	head := q.Add([][]byte{[]byte("late")}, []int{4})
	q.setUp(0)
	q.enable(1)
	<-dev.lazy
	if diff := cmp.Diff(state(0, 1), f.ask(getVringBase, state(0, 0))); diff != "" {
		t.Errorf("base (-want +got):\n%s", diff)
	}
	if got := q.expect(head); got != "LATE" {
		t.Errorf("answer %q", got)
	}
}

func socketFD(t *testing.T, f *frontEnd) (fd int32) {
	t.Helper()
	rc, err := f.conn.SyscallConn()
	if err == nil {
		err = rc.Control(func(n uintptr) { fd = int32(n) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestMemoryReplaced changes the table under running rings, in the middle of
// traffic: another division of the same RAM, with buffers across the border.
func TestMemoryReplaced(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 2)
	f := connect(t, dev, nil)
	qs := f.running(2, 64, featAll)
	const cut = 3<<19 + 0x3000 // amid the memory of the first queue
	tables := [][]byte{
		wholeRAM(),
		table(region{ramGPA, cut, ramUser, 0}, region{ramGPA + cut, ramSize - cut, ramUser + cut, cut}),
		table(region{ramGPA + 1<<20, ramSize - 1<<20, ramUser + 1<<20, 1 << 20}),
	}
	for round := range 60 {
		tab := tables[round%len(tables)]
		n := (len(tab) - 8) / 32
		fds := make([]int, n)
		for i := range fds {
			fds[i] = f.mem
		}
		var heads []uint16
		for _, q := range qs {
			msg := fmt.Appendf(nil, "round %d", round)
			heads = append(heads, q.Add([][]byte{msg}, []int{len(msg)}))
			q.kick.set()
		}
		if got := f.acked(setMemTable, tab, fds...); got != 0 {
			t.Fatalf("round %d: SET_MEM_TABLE: %d", round, got)
		}
		for i, q := range qs {
			if got, want := q.expect(heads[i]), fmt.Sprintf("ROUND %d", round); got != want {
				t.Fatalf("round %d queue %d: answer %q", round, i, got)
			}
		}
	}
	// A bad table changes nothing.
	if got := f.acked(setMemTable, table(region{0, ramSize * 2, 0, 0}), f.mem); got == 0 {
		t.Error("table larger than its file accepted")
	}
	if got := qs[0].exchange("still"); got != "STILL" {
		t.Errorf("answer %q", got)
	}
	// A table without the ring stops it, and it alone.
	f.send(setVringErr, u64(1), qs[1].err.fd)
	if got := f.acked(setMemTable, table(region{ramGPA, 2 << 20, ramUser, 0}), f.mem); got != 0 {
		t.Fatalf("SET_MEM_TABLE: %d", got)
	}
	if got := qs[0].exchange("still"); got != "STILL" {
		t.Errorf("answer %q", got)
	}
	qs[1].err.wait("error signal of the ring that is gone")
}

// TestRingFailure is what the guest can do to its own device: it goes quiet,
// the connection and the other queue go on, and a new start revives it.
func TestRingFailure(t *testing.T) {
	boom := errors.New("boom")
	outside := func(q *guestQueue) []byte {
		b := q.addr()
		binary.LittleEndian.PutUint64(b[16:], ramUser+ramSize) // used ring
		return b
	}
	misaligned := func(q *guestQueue) []byte {
		b := q.addr()
		a := binary.LittleEndian.Uint64(b[24:])
		binary.LittleEndian.PutUint64(b[24:], a+1) // available ring
		return b
	}
	tests := []struct {
		name  string
		num   uint32
		addr  func(*guestQueue) []byte
		dev   error
		avail uint16
		want  error // nil: any
	}{
		{name: "no descriptors", num: 0},
		{name: "three descriptors", num: 3},
		{name: "too many descriptors", num: 65536},
		{name: "most descriptors", num: 0xffffffff},
		{name: "ring outside of memory", num: 8, addr: outside},
		{name: "ring misaligned", num: 8, addr: misaligned},
		{name: "available index jumps", num: 8, avail: 9, want: virtio.ErrAvailIndex},
		{name: "device gives up", num: 8, dev: boom, want: boom},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkLeaks(t)
			dev := newEcho(t, 2)
			type failure struct {
				queue int
				err   error
			}
			failed := make(chan failure, 10)
			f := connect(t, dev, &vhostuser.Config{OnRingError: func(i int, err error) { failed <- failure{i, err} }})
			qs := f.running(2, 8, featAll)
			q := qs[0]
			f.ask(getVringBase, state(0, 0))
			f.send(setVringErr, u64(0), q.err.fd)
			dev.failWith(0, tt.dev)
			dev.calls()

			q.setUp(0)
			q.enable(0)
			f.send(setVringNum, state(0, tt.num))
			if tt.addr != nil {
				f.send(setVringAddr, tt.addr(q))
			}
			q.Add([][]byte{{1}}, []int{1})
			if tt.avail != 0 {
				q.SetAvail(tt.avail)
			}
			if got := f.acked(setVringEnable, state(0, 1)); got != 0 {
				t.Errorf("SET_VRING_ENABLE: %d, but it is not the front-end's fault", got)
			}
			q.err.wait("error signal")
			select {
			case got := <-failed:
				if got.queue != 0 || tt.want != nil && !errors.Is(got.err, tt.want) {
					t.Errorf("OnRingError(%d, %v), want queue 0 and %v", got.queue, got.err, tt.want)
				}
			case <-time.After(wait):
				t.Fatal("OnRingError was not called")
			}
			// Quiet, also when it is kicked or switched off and on.
			q.kick.set()
			q.enable(0)
			q.enable(1)
			f.sync()
			if len(failed) != 0 {
				t.Errorf("ring failed again: %+v", <-failed)
			}
			if got := qs[1].exchange("other"); got != "OTHER" {
				t.Errorf("answer %q", got)
			}
			// The driver resets the device and starts it properly.
			q.enable(0)
			f.ask(getVringBase, state(0, 0))
			dev.failWith(0, nil)
			clear(f.ram[q.at : q.at+1<<20])
			q = f.newQueue(0, 8, featAll)
			q.setUp(0)
			q.enable(1)
			if got := q.exchange("again"); got != "AGAIN" {
				t.Errorf("answer %q", got)
			}
		})
	}
}

// TestKickEnds: a kick descriptor that ends fails its ring instead of spinning.
func TestKickEnds(t *testing.T) {
	checkLeaks(t)
	failed := make(chan error, 10)
	f := connect(t, newEcho(t, 1), &vhostuser.Config{OnRingError: func(_ int, err error) { failed <- err }})
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	f.running(1, 8, featAll)
	f.send(setVringKick, u64(0), p[0])
	f.sync()
	_ = unix.Close(p[0])
	_ = unix.Close(p[1])
	select {
	case err := <-failed:
		t.Log(err)
	case <-time.After(wait):
		t.Fatal("ring did not fail")
	}
	f.sync()
}
