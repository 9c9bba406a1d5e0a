package guestmem

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
)

// A Window is what the IOMMU lets one function reach: bus addresses (IOVA) that
// the guest mapped for it, one range at a time, while the function runs. It is
// empty at first; what was never mapped is never reached, although the files
// behind it may be all of the guest's RAM.
//
// All methods may be called concurrently. Read, Write and View do not allocate.
//
// Mapping and unmapping are cheap: a file is mapped once as a whole, by device and
// inode number, and stays so while any range of it may come back. QEMU takes all of
// RAM away and gives it back a dozen times before a guest runs, and a guest with a
// strict IOMMU does so for each request.
type Window struct {
	mu     sync.RWMutex // held while the table is looked at or changed
	closed bool
	table  table

	// Accesses that outlive a look at the table (View) count themselves in the
	// half of views that epoch says. An unmapping sends later ones to the other
	// half and waits until its own is empty; unmappings are one at a time, so
	// the other half was empty before.
	unmapping sync.Mutex
	epoch     uint
	views     [2]viewers

	files files // with mu
}

// viewers count calls of View.
type viewers struct {
	running atomic.Int64
	waited  atomic.Bool
	idle    chan struct{} // told when running reaches 0 while waited
}

// Limits of a Window.
const (
	// MaxMappings is how many ranges a Window holds at once. It is what a
	// vfio-user server promises when it says nothing (max_dma_maps). Ranges that
	// continue each other in both address and file count as one.
	MaxMappings = 65535

	// MaxFiles is how many files may be mapped at once.
	MaxFiles = 32
)

// Why a mapping is refused, or an access to one, as the Err of an [*AddressError].
var (
	// ErrPermission: the range is mapped, but not for reading or not for writing.
	ErrPermission = errors.New("mapped without that permission")

	// ErrNoMemory: the range is mapped, but its memory is out of reach: ROM, or
	// registers of another device.
	ErrNoMemory = errors.New("mapped, but not memory that can be reached")

	// ErrTooMany: more than MaxMappings ranges, or MaxFiles files.
	ErrTooMany = errors.New("too many mappings")

	// ErrClosed: the Window was closed.
	ErrClosed = errors.New("window is closed")
)

// NewWindow returns a window in which nothing is mapped.
func NewWindow() *Window {
	w := &Window{}
	for i := range w.views {
		w.views[i].idle = make(chan struct{}, 1)
	}
	return w
}

// Read copies the len(p) bytes at iova to p, across mappings. A range that is not
// wholly mapped for reading is an [*AddressError]; then p is as it was.
func (w *Window) Read(iova uint64, p []byte) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	i, err := w.table.check(iova, len(p), false)
	if err != nil {
		return err
	}
	for done := 0; done < len(p); i++ {
		done += copy(p[done:], w.table[i].from(iova+uint64(done)))
	}
	return nil
}

// Write copies p to iova, across mappings. A range that is not wholly mapped for
// writing is an [*AddressError]; then nothing was written.
func (w *Window) Write(iova uint64, p []byte) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	i, err := w.table.check(iova, len(p), true)
	if err != nil {
		return err
	}
	for done := 0; done < len(p); i++ {
		done += copy(w.table[i].from(iova+uint64(done)), p[done:])
	}
	return nil
}

// segmentLists are what View passes to its callback.
var segmentLists = sync.Pool{New: func() any { return new(segmentList) }}

type segmentList struct{ s [][]byte }

// View calls f with the n bytes at iova as they lie in this process, one segment
// for each mapping they touch, none if n is 0. With write, f may write to them.
// Segments belong to f until it returns; an unmapping by the guest waits until
// then, so f must not block, and must not map or unmap. It may Read, Write and
// View, and panic.
//
// The bytes are shared with the guest and change at any time. A range that is not
// wholly mapped with that permission is an [*AddressError] and f is not called;
// else the error is that of f.
func (w *Window) View(iova uint64, n int, write bool, f func(segments [][]byte) error) error {
	l := segmentLists.Get().(*segmentList)
	epoch, err := w.enter(iova, n, write, l)
	if err != nil {
		segmentLists.Put(l)
		return err
	}
	defer w.leave(epoch, l)
	return f(l.s)
}

// enter looks the range up and counts the caller as running.
func (w *Window) enter(iova uint64, n int, write bool, l *segmentList) (epoch uint, err error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	i, err := w.table.check(iova, n, write)
	if err != nil {
		return 0, err
	}
	for done := 0; done < n; i++ {
		b := w.table[i].from(iova + uint64(done))
		b = b[:min(len(b), n-done)]
		l.s = append(l.s, b[:len(b):len(b)])
		done += len(b)
	}
	w.views[w.epoch].running.Add(1)
	return w.epoch, nil
}

// leave ends what enter began.
func (w *Window) leave(epoch uint, l *segmentList) {
	clear(l.s) // nobody finds a segment in the pool
	l.s = l.s[:0]
	segmentLists.Put(l)
	v := &w.views[epoch]
	if v.running.Add(-1) == 0 && v.waited.Load() {
		select {
		case v.idle <- struct{}{}:
		default:
		}
	}
}

// Map adds a range. The file descriptor in m stays the caller's. Ranges must not
// overlap (an [*OverlapError]), except that what is mapped already may be mapped
// again in the same way, which does nothing. Other errors are ErrRange, ErrFileSize,
// ErrUnsealed, ErrTooMany, ErrClosed and those of fstat and mmap; then nothing changed.
func (w *Window) Map(m Mapping) error {
	if err := m.check(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	f, fresh, err := w.files.open(m)
	if err != nil {
		return err
	}
	r := mapping{first: m.IOVA, last: m.IOVA + (m.Size - 1), offset: m.Offset, file: f, read: m.Read, write: m.Write}
	err = w.table.insert(r)
	if err != nil && fresh {
		err = errors.Join(err, w.files.drop(f)) // nobody has seen it
	}
	return err
}

// Unmap removes what is mapped of the size bytes at iova, which may be nothing, a
// part of one mapping or many. A range that would wrap around ends at the last
// address. When it returns, no access to the range is running and none can begin.
//
// The error is ErrTooMany if taking a piece out of the middle would have left more
// than MaxMappings ranges: what lies above the piece was unmapped with it.
func (w *Window) Unmap(iova, size uint64) error {
	if size == 0 {
		return nil
	}
	last := iova + (size - 1)
	if last < iova {
		last = math.MaxUint64
	}
	return w.unmap(iova, last)
}

// UnmapAll removes every mapping, as Unmap does.
func (w *Window) UnmapAll() { _ = w.unmap(0, math.MaxUint64) } // splits nothing

// unmap removes the addresses first to last.
func (w *Window) unmap(first, last uint64) error {
	w.unmapping.Lock()
	defer w.unmapping.Unlock()
	w.mu.Lock()
	removed, err := w.table.remove(first, last)
	old := &w.views[w.epoch]
	if removed {
		w.epoch ^= 1
	}
	w.mu.Unlock()
	if removed {
		w.drain(old)
	}
	return err
}

// drain waits until the half of views that nobody enters any more is empty, and
// unmaps files that are of no more use: nobody is in a file without ranges then. The
// caller holds unmapping.
func (w *Window) drain(old *viewers) {
	old.waited.Store(true)
	for old.running.Load() != 0 {
		<-old.idle
	}
	old.waited.Store(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files.trim()
}

// Mappings is how many ranges are mapped, neighbours that continue each other
// counted as one, and how many bytes they have together.
func (w *Window) Mappings() (ranges int, bytes uint64) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for i := range w.table {
		bytes += w.table[i].last - w.table[i].first + 1
	}
	return len(w.table), bytes
}

// Close unmaps everything, waits like Unmap, and gives all memory back. Later
// accesses find nothing mapped. Close again does nothing.
func (w *Window) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.UnmapAll()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.files.close()
}
