package vhostuser_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vhostuser"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// Requests of the protocol, written down a second time on purpose.
const (
	getFeatures         = 1
	setFeatures         = 2
	setOwner            = 3
	resetOwner          = 4
	setMemTable         = 5
	setVringNum         = 8
	setVringAddr        = 9
	setVringBase        = 10
	getVringBase        = 11
	setVringKick        = 12
	setVringCall        = 13
	setVringErr         = 14
	getProtocolFeatures = 15
	setProtocolFeatures = 16
	getQueueNum         = 17
	setVringEnable      = 18
	getConfig           = 24
	setConfig           = 25
	resetDevice         = 34

	needReply = 0x8
	noFD      = 0x100

	bitProtocol = 1 << 30
	protoMQ     = 1 << 0
	protoAck    = 1 << 3
	protoConfig = 1 << 9

	featLegacy = bitProtocol | virtio.FeatureIndirectDesc // what QEMU's legacy virtio-mmio sets
	featAll    = bitProtocol | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx | virtio.FeatureVersion1
)

const (
	ramSize = 8 << 20
	ramGPA  = 0x1000_0000
	ramUser = 0x7f00_0000_0000
	wait    = 10 * time.Second // for anything that has to happen
)

// A frontEnd scripts QEMU's side of one connection, guest RAM included.
type frontEnd struct {
	t    testing.TB
	conn *net.UnixConn
	mem  int    // memfd
	ram  []byte // mapped
	done chan error
	once sync.Once
	err  error // result of Serve, after done
	logs *logBuffer
}

// socketpair returns two connected sockets.
func socketpair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// newRAM returns a sealed memfd as QEMU's memory-backend-memfd makes it.
func newRAM(t testing.TB, size int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("vhostuser-test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		err = unix.Ftruncate(fd, int64(size))
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// connect starts Serve and returns the front-end of the connection.
func connect(t testing.TB, dev virtio.Device, cfg *vhostuser.Config) *frontEnd {
	t.Helper()
	return connectContext(t.Context(), t, dev, cfg)
}

func connectContext(ctx context.Context, t testing.TB, dev virtio.Device, cfg *vhostuser.Config) *frontEnd {
	t.Helper()
	ours, theirs := socketpair(t)
	f := &frontEnd{t: t, conn: ours, mem: newRAM(t, ramSize), done: make(chan error, 1), logs: &logBuffer{}}
	var err error
	if f.ram, err = unix.Mmap(f.mem, 0, ramSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	c := vhostuser.Config{}
	if cfg != nil {
		c = *cfg
	}
	if c.Log == nil {
		c.Log = f.logs.logger()
	}
	go func() { f.done <- vhostuser.Serve(ctx, theirs, dev, &c) }()
	t.Cleanup(func() {
		_ = f.conn.Close()
		f.result()
		_ = unix.Munmap(f.ram)
		_ = unix.Close(f.mem)
		if t.Failed() {
			t.Logf("log of the back-end:\n%s", f.logs)
		}
	})
	return f
}

// result waits for Serve to return.
func (f *frontEnd) result() error {
	f.t.Helper()
	f.once.Do(func() {
		select {
		case f.err = <-f.done:
		case <-time.After(wait):
			panic("Serve does not return")
		}
	})
	return f.err
}

// write sends raw bytes with descriptors.
func (f *frontEnd) write(b []byte, fds ...int) {
	f.t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := f.conn.WriteMsgUnix(b, oob, nil); err != nil {
		f.t.Fatalf("write: %v", err)
	}
}

func raw(request, flags uint32, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, request)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// send sends a request that has no answer.
func (f *frontEnd) send(request uint32, payload []byte, fds ...int) {
	f.t.Helper()
	f.write(raw(request, 1, payload), fds...)
}

// ask sends a request and returns the payload of its answer.
func (f *frontEnd) ask(request uint32, payload []byte, fds ...int) []byte {
	f.t.Helper()
	f.write(raw(request, 1, payload), fds...)
	return f.answer(request)
}

// acked sends a request with need_reply and returns the acknowledgement, 0 for
// success.
func (f *frontEnd) acked(request uint32, payload []byte, fds ...int) uint64 {
	f.t.Helper()
	f.write(raw(request, 1|needReply, payload), fds...)
	a := f.answer(request)
	if len(a) != 8 {
		f.t.Fatalf("acknowledgement of %d bytes", len(a))
	}
	return binary.LittleEndian.Uint64(a)
}

func (f *frontEnd) answer(request uint32) []byte {
	f.t.Helper()
	if err := f.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		f.t.Fatal(err)
	}
	var head [12]byte
	if _, err := io.ReadFull(f.conn, head[:]); err != nil {
		f.t.Fatalf("no answer to request %d: %v", request, err)
	}
	if got := binary.LittleEndian.Uint32(head[0:]); got != request {
		f.t.Fatalf("answer to request %d, want %d", got, request)
	}
	if got := binary.LittleEndian.Uint32(head[4:]); got != 1|4 {
		f.t.Fatalf("answer with flags %#x, want version 1 and reply", got)
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[8:]))
	if _, err := io.ReadFull(f.conn, b); err != nil {
		f.t.Fatal(err)
	}
	return b
}

// sync waits until everything sent before has been dealt with.
func (f *frontEnd) sync() { f.t.Helper(); f.ask(getFeatures, nil) }

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func state(index, num uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, index), num)
}

// region is one entry of a memory table.
type region struct{ gpa, size, user, offset uint64 }

func table(regions ...region) []byte {
	b := state(uint32(len(regions)), 0)
	for _, r := range regions {
		for _, v := range []uint64{r.gpa, r.size, r.user, r.offset} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return b
}

// wholeRAM is the one region of a machine with little memory.
func wholeRAM() []byte { return table(region{ramGPA, ramSize, ramUser, 0}) }

func eventfd(t testing.TB) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// An event is an eventfd of the front-end.
type event struct {
	t  testing.TB
	fd int
}

func newEvent(t testing.TB) *event {
	t.Helper()
	e := &event{t, eventfd(t)}
	t.Cleanup(func() { _ = unix.Close(e.fd) })
	return e
}

// tick is what is added to an eventfd.
var tick = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func (e *event) set() {
	e.t.Helper()
	if _, err := unix.Write(e.fd, tick); err != nil {
		e.t.Fatal(err)
	}
}

// count takes what has been signalled so far.
func (e *event) count() uint64 {
	e.t.Helper()
	var b [8]byte
	_, err := unix.Read(e.fd, b[:])
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		e.t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(b[:])
}

// wait waits for a signal and takes it.
func (e *event) wait(what string) {
	e.t.Helper()
	for end := time.Now().Add(wait); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
		if n == 1 {
			e.count()
			return
		}
		if errors.Is(err, unix.EINTR) && time.Now().Before(end) {
			continue
		}
		e.t.Fatalf("no %s: %v", what, err)
	}
}

// A guestQueue is one queue of the guest: its driver and its eventfds.
type guestQueue struct {
	*virtiotest.Driver
	f     *frontEnd
	index uint32
	size  int
	at    int // offset of its memory in RAM
	kick  *event
	call  *event
	err   *event
}

// newQueue lays out queue index at its own mebibyte of guest RAM.
func (f *frontEnd) newQueue(index uint32, size int, features uint64) *guestQueue {
	f.t.Helper()
	at := int(index+1) << 20
	return &guestQueue{
		Driver: virtiotest.New(f.t, size, virtiotest.Features(features),
			virtiotest.Over(f.ram[at:at+1<<20], ramGPA+uint64(at))),
		f: f, index: index, size: size, at: at,
		kick: newEvent(f.t), call: newEvent(f.t), err: newEvent(f.t),
	}
}

// addr is the payload of SET_VRING_ADDR.
func (q *guestQueue) addr() []byte {
	r := q.Rings()
	b := state(q.index, 0)
	for _, off := range []int{r.DescOffset, r.UsedOffset, r.AvailOffset} {
		b = binary.LittleEndian.AppendUint64(b, ramUser+uint64(q.at+off))
	}
	return binary.LittleEndian.AppendUint64(b, 0)
}

// setUp sends what QEMU sends for a queue when the driver is ready, up to and
// without SET_VRING_ENABLE.
func (q *guestQueue) setUp(base uint16) {
	q.f.t.Helper()
	q.f.send(setVringNum, state(q.index, uint32(q.size)))
	q.f.send(setVringBase, state(q.index, uint32(base)))
	q.f.send(setVringAddr, q.addr())
	q.f.send(setVringKick, u64(uint64(q.index)), q.kick.fd)
	q.f.send(setVringCall, u64(uint64(q.index)), q.call.fd)
}

func (q *guestQueue) enable(on uint32) {
	q.f.t.Helper()
	q.f.send(setVringEnable, state(q.index, on))
}

// negotiate is what QEMU does when the device is realized.
func (f *frontEnd) negotiate(queues int) {
	f.t.Helper()
	f.ask(getFeatures, nil)
	f.send(setProtocolFeatures, f.ask(getProtocolFeatures, nil))
	f.ask(getQueueNum, nil)
	f.send(setOwner, nil)
	f.ask(getFeatures, nil)
	for i := range queues {
		fd := eventfd(f.t)
		f.send(setVringCall, u64(uint64(i)), fd)
		f.send(setVringErr, u64(uint64(i)), fd)
		_ = unix.Close(fd)
	}
}

// running negotiates and starts queues of the given size.
func (f *frontEnd) running(queues, size int, features uint64) []*guestQueue {
	f.t.Helper()
	f.negotiate(queues)
	f.send(setFeatures, u64(features))
	f.send(setMemTable, wholeRAM(), f.mem)
	var qs []*guestQueue
	for i := range queues {
		q := f.newQueue(uint32(i), size, features)
		q.setUp(0)
		qs = append(qs, q)
	}
	for _, q := range qs {
		q.enable(1)
	}
	return qs
}

// exchange sends one request through the queue and returns the answer.
func (q *guestQueue) exchange(request string) string {
	q.f.t.Helper()
	head := q.Add([][]byte{[]byte(request)}, []int{len(request)})
	q.kick.set()
	return q.expect(head)
}

// expect waits for the return of one chain.
func (q *guestQueue) expect(head uint16) string {
	q.f.t.Helper()
	for {
		// Spurious interrupts are allowed.
		q.call.wait("interrupt")
		used := q.Used()
		if len(used) == 0 {
			continue
		}
		if len(used) != 1 || used[0].Head != head {
			q.f.t.Fatalf("used %v, want chain %d", used, head)
		}
		return string(used[0].In[0])
	}
}

// logBuffer collects the log of the back-end.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
