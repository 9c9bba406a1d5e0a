package guestmem

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestWindowUnmapWaits: an unmapping ends after the views that ran when it began,
// and not after those that began later, which may be nested in them.
func TestWindowUnmapWaits(t *testing.T) {
	fd := memfd(t, 0x10000, seal)
	for _, close := range []bool{false, true} {
		t.Run(fmt.Sprintf("close %t", close), func(t *testing.T) {
			w := newWindow(t, rw(0, 0x1000, 0, fd), rw(0x8000, 0x1000, 0, fd))
			inside, unmapped := make(chan struct{}), make(chan struct{})
			var viewDone sync.WaitGroup
			viewDone.Go(func() {
				err := w.View(0, 8, true, func(s [][]byte) error {
					inside <- struct{}{}
					<-inside
					// The table has changed by now, although the unmapping waits.
					b := make([]byte, 8)
					if err := w.Read(0, b); err == nil {
						t.Error("read what is being unmapped")
					}
					err := w.View(0x8000, 8, false, func([][]byte) error { return nil })
					if (err != nil) != close {
						t.Errorf("view of another mapping inside: %v", err)
					}
					select {
					case <-unmapped:
						t.Error("unmapping did not wait")
					default:
					}
					s[0][0] = 1 // still there
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			<-inside
			go func() {
				if close {
					_ = w.Close()
				} else {
					_ = w.Unmap(0, 0x1000)
				}
				unmapped <- struct{}{}
			}()
			deadline := time.Now().Add(10 * time.Second)
			for w.Read(0, make([]byte, 1)) == nil {
				if time.Now().After(deadline) {
					t.Fatal("range stays mapped")
				}
			}
			inside <- struct{}{}
			select {
			case <-unmapped:
			case <-time.After(10 * time.Second):
				t.Fatal("unmapping waits for ever")
			}
			viewDone.Wait()
		})
	}
}

// TestWindowUnmapEnds although there is always some view running.
func TestWindowUnmapEnds(t *testing.T) {
	fd := memfd(t, 0x10000, seal)
	w := newWindow(t, rw(0, 0x1000, 0, fd), rw(0x8000, 0x1000, 0, fd))
	view := func(iova uint64) (leave func()) {
		inside, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			_ = w.View(iova, 8, false, func([][]byte) error {
				close(inside)
				<-release
				return nil
			})
		}()
		<-inside
		return func() { close(release); <-done }
	}
	for range 3 {
		first := view(0)
		unmapped := make(chan error, 1)
		go func() { unmapped <- w.Unmap(0, 0x1000) }()
		for w.Read(0, make([]byte, 1)) == nil {
		}
		second := view(0x8000) // the range is gone
		first()
		select {
		case err := <-unmapped:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("unmapping waits for views that began after it")
		}
		second()
		if err := w.Map(rw(0, 0x1000, 0, fd)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWindowViewPanics: a view that panics does not stay counted.
func TestWindowViewPanics(t *testing.T) {
	w := newWindow(t, rw(0, 0x1000, 0, memfd(t, 0x1000, seal)))
	func() {
		defer func() { _ = recover() }()
		_ = w.View(0, 1, false, func([][]byte) error { panic("device") })
	}()
	done := make(chan error, 1)
	go func() { done <- w.Unmap(0, 0x1000) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("unmapping waits for a view that has ended")
	}
}

// TestWindowStorm maps and unmaps under readers. An access either finds everything
// in place or an AddressError; touching unmapped memory would end the process.
func TestWindowStorm(t *testing.T) {
	w := newWindow(t)
	var fds []int
	for range 4 {
		fds = append(fds, memfd(t, 0x4000, seal))
	}
	stop := make(chan struct{})
	var users sync.WaitGroup
	for n := range 4 {
		users.Go(func() {
			buf := make([]byte, 0x1800)
			for i := uint64(n); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				iova := i * 0x800 % 0x8000
				var err error
				switch n {
				case 0:
					err = w.Read(iova, buf)
				case 1:
					err = w.Write(iova, buf)
				default:
					err = w.View(iova, len(buf), true, func(s [][]byte) error {
						for _, b := range s {
							clear(b)
						}
						return nil
					})
				}
				var ae *AddressError
				if err != nil && !errors.As(err, &ae) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range uint64(3000) {
		_ = w.Map(rw(i%4*0x2000, 0x2000, i%3*0x1000, fds[i%4]))
		if i%3 == 0 {
			_ = w.Unmap(i*0x1000%0x8000, 0x1800)
		}
		if i%101 == 0 {
			w.UnmapAll()
		}
	}
	close(stop)
	users.Wait()
	checkFiles(t, w)
}

// TestWindowDoesNotAllocate in steady state.
func TestWindowDoesNotAllocate(t *testing.T) {
	fd := memfd(t, 0x10000, seal)
	w := newWindow(t, rw(0, 0x1000, 0x8000, fd), rw(0x1000, 0x1000, 0x2000, fd))
	p := make([]byte, 0x1000)
	n := 0
	f := func(s [][]byte) error { n += len(s); return nil }
	for name, op := range map[string]func() error{
		"Read":      func() error { return w.Read(0x800, p) },
		"Write":     func() error { return w.Write(0x800, p) },
		"View":      func() error { return w.View(0x800, len(p), true, f) },
		"Map again": func() error { return w.Map(rw(0x3000, 0x1000, 0, fd)) },
		"Unmap":     func() error { return w.Unmap(0x3000, 0x1000) },
	} {
		if got := testing.AllocsPerRun(200, func() {
			if err := op(); err != nil {
				t.Fatal(err)
			}
		}); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
