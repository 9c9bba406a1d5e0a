package enclaves_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/devices/pci"
)

// All ways in which a device goes off while it launches an enclave, another runs
// and a third slot waits.
func TestGoingOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		off  func(r *rig, b bar)
		flr  bool
	}{
		{"disable", func(_ *rig, b bar) { b.write(enclaves.RegEnable, 1, 0) }, false},
		{"function level reset", func(_ *rig, b bar) { b.FLR() }, true},
		{"device reset", func(r *rig, _ bar) { r.dev.Function().Reset() }, true},
		{"close", func(r *rig, _ bar) {
			go func() {
				if err := r.dev.Close(); err != nil {
					r.Error(err)
				}
			}()
		}, false},
	} {
		for _, honours := range []bool{true, false} {
			name := tt.name
			if !honours {
				name += ", launch does not heed its context"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r, b, uid := newReady(t, nil)
					b.do(t, enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: uid})
					b.ready(t, 64*mib, 2)
					third := b.ready(t, 128*mib, 3)
					reached, release := make(chan struct{}), make(chan struct{})
					hook := blockLaunch(reached, release)
					r.hyp.OnLaunch(func(ctx context.Context, c enclaves.LaunchConfig) error {
						if !honours {
							ctx = context.WithoutCancel(ctx)
						}
						return hook(ctx, c)
					})
					hold := make(chan struct{})
					r.hyp.OnScrub(func([]enclaves.Region) error { <-hold; return nil })
					b.send(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: third})
					<-reached
					n := b.replies()
					tt.off(r, b)
					synctest.Wait()
					if tt.flr {
						b.Enable()
						b.EnableMSIX()
					}
					if got := b.read(enclaves.RegEnable, 1); got != 1 {
						t.Fatalf("enable reads %d while memory is not scrubbed", got)
					}
					b.write(enclaves.RegVersion, 2, 1)
					b.write(enclaves.RegEnable, 1, 1) // too early
					b.send(enclaves.SlotCount, enclaves.EmptyRequest{})
					close(release)
					close(hold)
					synctest.Wait()
					if got := b.read(enclaves.RegEnable, 1); got != 0 {
						t.Fatalf("enable reads %d in the end", got)
					}
					if b.replies() != n || b.Count(pci.MSIX, enclaves.VectorEvent) != 0 {
						t.Error("an interrupt of the life before")
					}
					if err := r.hyp.Err(true); err != nil {
						t.Error(err)
					}
					if got := len(r.hyp.Scrubbed()); got != 3 {
						t.Errorf("%d regions scrubbed", got)
					}
					if s := r.dev.Slots(); len(s) > 0 {
						t.Errorf("slots %v", s)
					}
					if launched := len(r.hyp.Enclaves()); honours != (launched == 1) {
						t.Errorf("%d enclaves", launched)
					}
				})
			})
		}
	}
}

func TestResetClearsRegisters(t *testing.T) {
	_, b, uid := newReady(t, nil)
	b.do(t, enclaves.SlotFree, slotRequest(uid))
	b.FLR()
	b.Enable()
	for off := uint64(0); off < enclaves.BARSize; off += 8 {
		if got := b.read(off, 8); got != 0 {
			t.Errorf("%#x at %#x", got, off)
		}
	}
}

// What cannot be stopped or scrubbed stays with the device, until it can.
func TestHypervisorFailures(t *testing.T) {
	broken := errors.New("broken")
	r, b, uid := newReady(t, nil)
	b.do(t, enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: uid})
	rc := func(c enclaves.Command) error {
		t.Helper()
		n := b.replies()
		b.send(c, slotRequest(uid))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		b.Wait(ctx, pci.MSIX, enclaves.VectorReply, n+1)
		return b.reply(t).Err()
	}
	r.hyp.OnStop(func(*enclavestest.Enclave) error { return broken })
	if err := rc(enclaves.EnclaveStop); err != syscall.EIO {
		t.Errorf("stop: %v", err)
	}
	if state := r.state(uid); state != enclaves.StateRunning {
		t.Errorf("state %v", state)
	}
	r.hyp.OnStop(nil)
	if err := rc(enclaves.EnclaveStop); err != nil {
		t.Errorf("stop: %v", err)
	}
	r.hyp.OnScrub(func([]enclaves.Region) error { return syscall.ENOMEM })
	if err := rc(enclaves.SlotFree); err != syscall.ENOMEM {
		t.Errorf("free: %v", err)
	}
	if state := r.state(uid); state != enclaves.StateStopped {
		t.Errorf("state %v", state)
	}

	// Going off fails too, and is tried again by another write, and by Close.
	b.write(enclaves.RegEnable, 1, 0)
	r.eventually(func() bool { return b.read(enclaves.RegEnable, 1) == 1 })
	if err := r.dev.Close(); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("close: %v", err)
	}
	if len(r.dev.Slots()) != 1 || b.read(enclaves.RegEnable, 1) != 1 {
		t.Errorf("slots %v, enable reads %d", r.dev.Slots(), b.read(enclaves.RegEnable, 1))
	}
	r.hyp.OnScrub(nil)
	b.write(enclaves.RegEnable, 1, 0)
	r.eventually(func() bool { return b.read(enclaves.RegEnable, 1) == 0 })
	if got := len(r.hyp.Scrubbed()); got != 1 {
		t.Errorf("%d regions scrubbed", got)
	}
}

// One slot that cannot be freed does not hold up the others.
func TestTakeDownGoesOn(t *testing.T) {
	r, b, uid := newReady(t, nil)
	b.do(t, enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: uid})
	b.ready(t, 64*mib, 2)
	r.hyp.OnStop(func(*enclavestest.Enclave) error { return errors.New("broken") })
	if err := r.dev.Close(); err == nil {
		t.Error("no error")
	}
	if s := r.dev.Slots(); len(s) != 1 || s[0].UID != uid {
		t.Errorf("slots %v", s)
	}
	r.hyp.OnStop(nil)
	if err := r.dev.Close(); err != nil {
		t.Error(err)
	}
	if err := r.dev.Close(); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestClosedDeviceStaysOff(t *testing.T) {
	r, p := newBus(t, nil)
	if err := r.dev.Close(); err != nil {
		t.Fatal(err)
	}
	b := bar{p}
	b.on()
	b.send(enclaves.SlotAlloc, enclaves.EmptyRequest{})
	if got := b.read(enclaves.RegEnable, 1); got != 0 || b.replies() != 0 || len(r.dev.Slots()) > 0 {
		t.Errorf("enable reads %d, %d replies, slots %v", got, b.replies(), r.dev.Slots())
	}
	b.FLR()
}
