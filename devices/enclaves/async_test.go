package enclaves_test

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// blockLaunch is a launch that closes reached and waits until release is closed,
// or its context ends.
func blockLaunch(reached chan<- struct{}, release <-chan struct{}) func(context.Context, enclaves.LaunchConfig) error {
	var once sync.Once
	return func(ctx context.Context, _ enclaves.LaunchConfig) error {
		once.Do(func() { close(reached) })
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func failLaunch(err error) func(context.Context, enclaves.LaunchConfig) error {
	return func(context.Context, enclaves.LaunchConfig) error { return err }
}

// send writes a command as drivers do, and does not wait.
func (b bar) send(c enclaves.Command, r enclaves.Request) {
	for i, v := range r.AppendTo(nil) {
		b.write(enclaves.RegSend+uint64(i), 1, uint64(v))
	}
	b.write(enclaves.RegCommand, 4, uint64(c))
}

// reply is what is at RegReceive.
func (b bar) reply(t *testing.T) enclaves.Reply {
	t.Helper()
	var p [enclaves.ReplySize]byte
	for i := range p {
		p[i] = byte(b.read(enclaves.RegReceive+uint64(i), 1))
	}
	r, err := enclaves.ParseReply(p[:])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// do executes a command that has to succeed.
func (b bar) do(t *testing.T, c enclaves.Command, r enclaves.Request) enclaves.Reply {
	t.Helper()
	n := b.replies()
	b.send(c, r)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b.Wait(ctx, pci.MSIX, enclaves.VectorReply, n+1)
	reply := b.reply(t)
	if err := reply.Err(); err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	return reply
}

func (b bar) replies() int { return b.Count(pci.MSIX, enclaves.VectorReply) }

// ready makes a slot that can be started.
func (b bar) ready(t *testing.T, addr uint64, core uint32) uint64 {
	t.Helper()
	uid := b.do(t, enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
	b.do(t, enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: enclaves.Region{Addr: addr, Size: 64 * mib}})
	b.do(t, enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 2 * core})
	b.do(t, enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 2*core + 1})
	return uid
}

// newReady is newBus with an enabled device and a slot that can be started.
func newReady(t *testing.T, edit func(*enclaves.Config)) (*rig, bar, uint64) {
	r, p := newBus(t, edit)
	b := bar{p}
	b.on()
	return r, b, b.ready(t, 0, 1)
}

// Registers answer at once while the hypervisor takes its time, and other commands
// are refused.
func TestCommandsDoNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, b, uid := newReady(t, nil)
		reached, release := make(chan struct{}), make(chan struct{})
		for _, tt := range []struct {
			c   enclaves.Command
			set func()
		}{
			{enclaves.EnclaveStart, func() { r.hyp.OnLaunch(blockLaunch(reached, release)) }},
			{enclaves.EnclaveStop, func() { r.hyp.OnStop(func(*enclavestest.Enclave) error { close(reached); <-release; return nil }) }},
			{enclaves.SlotFree, func() { r.hyp.OnScrub(func([]enclaves.Region) error { close(reached); <-release; return nil }) }},
		} {
			reached, release = make(chan struct{}), make(chan struct{})
			tt.set()
			n := b.replies()
			b.send(tt.c, enclaves.StartRequest{SlotUID: uid})
			<-reached
			synctest.Wait()
			if b.replies() != n {
				t.Fatalf("%v: replied before it was done", tt.c)
			}
			for _, other := range []enclaves.Command{enclaves.SlotCount, enclaves.SlotFree, enclaves.EnclaveStart} {
				b.send(other, enclaves.StartRequest{SlotUID: uid})
				n++
				if got := b.reply(t); b.replies() != n || got != (enclaves.Reply{RC: -int32(syscall.EBUSY)}) {
					t.Fatalf("%v during %v: %d replies, want %d; %+v", other, tt.c, b.replies(), n, got)
				}
			}
			close(release)
			synctest.Wait()
			if got := b.reply(t); b.replies() != n+1 || got.RC != 0 || got.SlotUID != uid {
				t.Fatalf("%v: %d replies, want %d; %+v", tt.c, b.replies(), n+1, got)
			}
		}
		if s := r.dev.Slots(); len(s) > 0 {
			t.Errorf("slots %v", s)
		}
	})
}

func TestLaunchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, b, uid := newReady(t, nil)
		r.hyp.OnLaunch(blockLaunch(make(chan struct{}), nil))
		n, begin := b.replies(), time.Now()
		b.send(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: uid})
		time.Sleep(120*time.Second - 1) // as long as the driver waits
		if b.replies() != n+1 {
			t.Fatal("no reply in time for the driver")
		}
		if got := b.reply(t); got.RC != -int32(syscall.ETIMEDOUT) {
			t.Errorf("after %v %+v", time.Since(begin), got)
		}
		if state := r.state(uid); state != enclaves.StateInit {
			t.Errorf("state %v", state)
		}
	})
}

// A vector that the driver has masked waits, as pci promises; the reply is there.
func TestMaskedReply(t *testing.T) {
	_, p := newBus(t, nil)
	b := bar{p}
	b.on()
	b.Mask(pci.MSIX, enclaves.VectorReply, true)
	b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
	if b.replies() != 0 || b.read(enclaves.RegEvents, 4) != 1 {
		t.Error("interrupt, or no reply")
	}
	b.Mask(pci.MSIX, enclaves.VectorReply, false)
	if diff := b.Delivered(); len(diff) != 1 || diff[0] != (pcitest.Vector{Kind: pci.MSIX, Number: 0}) {
		t.Errorf("interrupts %v", diff)
	}
}
