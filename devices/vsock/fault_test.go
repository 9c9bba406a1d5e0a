package vsock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

func inject(t *testing.T, sw *Switch, f Fault) *Injection {
	t.Helper()
	i, err := sw.Inject(f)
	must(t, err)
	return i
}

// wantHits fails unless the fault hit so many packets.
func wantHits(t *testing.T, i *Injection, n uint64) {
	t.Helper()
	if got := i.Stats().Hit; got != n {
		t.Errorf("%d packets were hit, want %d", got, n)
	}
}

// wantNothing fails if there is something to read.
func wantNothing(t *testing.T, c *Conn) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	wantEnd(t, c, os.ErrDeadlineExceeded)
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
}

// toGo and toGuest are the directions between enclave 16 and a parent.
func toGo(k FaultKind) Fault { return Fault{Kind: k, From: 16, To: CIDParent} }

func toGuest(k FaultKind) Fault { return Fault{Kind: k, From: CIDParent, To: 16} }

// write begins a Write of another goroutine.
func write(c *Conn, data []byte) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		done <- err
	}()
	return done
}

// Faults come and go while data flows in both directions, guest to Go and Go to
// guest; what only holds loses nothing.
func TestFaultsUnderLoad(t *testing.T) {
	enclave, parent := newSwitch(t, nil), newSwitch(t, nil)
	a, err := parent.Attach(16)
	must(t, err)
	b, err := enclave.Attach(CIDParent)
	must(t, err)
	newCable(t, a, b)
	l := listen(t, parent, CIDParent, 9000)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, sw := range []*Switch{enclave, parent} {
		wg.Go(func() {
			kinds := []Fault{
				{Kind: FaultStall}, {Kind: FaultStall, Op: OpCreditUpdate}, {Kind: FaultStall, Op: OpShutdown},
				{Kind: FaultDelay, Delay: 200 * time.Microsecond}, {Kind: FaultDelay, Delay: 2 * time.Millisecond, Rate: 0.1},
			}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				f := kinds[n%len(kinds)]
				f.From, f.To, f.Seed = CIDAny, CIDAny, uint64(n)
				i, err := sw.Inject(f)
				if err != nil {
					t.Error(err)
					return
				}
				timer := time.NewTimer(time.Millisecond)
				select {
				case <-stop:
				case <-timer.C:
				}
				timer.Stop()
				i.Remove()
			}
		})
	}
	data := pattern(1 << 20)
	var conns sync.WaitGroup
	for range 4 {
		x, y := makePipe(t, l, func(ctx context.Context) (*Conn, error) { return enclave.Dial(ctx, 16, CIDParent, 9000) })
		for _, c := range []*Conn{x, y} {
			must(t, c.SetDeadline(time.Now().Add(patience)))
			conns.Go(func() {
				if err := errors.Join(<-write(c, data), c.CloseWrite()); err != nil {
					t.Error(err)
				}
			})
			conns.Go(func() {
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes arrived, %v", len(got), err)
				}
			})
		}
	}
	conns.Wait()
	close(stop)
	wg.Wait()
}

func ExampleSwitch_Inject() {
	sw := NewSwitch(nil)
	defer sw.Close()
	quirk, err := sw.Inject(Fault{Kind: FaultCorrupt, From: 16, To: CIDParent, Over: 32 << 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer quirk.Remove()
	// An enclave with CID 16 that writes 64 KiB at a time has its data changed now.
	fmt.Printf("%+v\n", quirk.Stats())
	// Output: {Matched:0 Hit:0 Bytes:0}
}
