package enclaves_test

import (
	"context"
	"math"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

func TestStart(t *testing.T) {
	full := func(r *rig) uint64 { return r.slot(0, 1) }
	for _, tt := range []struct {
		name string
		slot func(r *rig) uint64
		cid  uint64
		flag uint64
		want error
	}{
		{"any CID", full, 0, 0, nil},
		{"debug", full, 0, 1, nil},
		{"lowest CID", full, 4, 0, nil},
		{"highest CID", full, 1<<32 - 2, 0, nil},
		{"CID 1", full, 1, 0, syscall.EINVAL},
		{"CID 2", full, 2, 0, syscall.EINVAL},
		{"CID of the parent", full, 3, 0, syscall.EINVAL},
		{"CID any", full, 1<<32 - 1, 0, syscall.EINVAL},
		{"CID of 33 bits", full, 1<<32 + 5, 0, syscall.EINVAL},
		{"CID of 64 bits", full, math.MaxUint64, 0, syscall.EINVAL},
		{"CID of another enclave", func(r *rig) uint64 {
			other := r.slot(64*mib, 2)
			r.do(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: other, CID: 20})
			return full(r)
		}, 20, 0, syscall.EADDRINUSE},
		{"CID of an enclave that was stopped", func(r *rig) uint64 {
			other := r.slot(64*mib, 2)
			r.do(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: other, CID: 20})
			r.do(enclaves.EnclaveStop, slotRequest(other))
			return full(r)
		}, 20, 0, nil},
		{"flag 2", full, 0, 2, syscall.EINVAL},
		{"high flag", full, 0, 1 << 63, syscall.EINVAL},
		{"nothing given", func(r *rig) uint64 { return r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID }, 0, 0, syscall.ENOMEM},
		{"little memory", func(r *rig) uint64 {
			uid := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
			r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 2})
			r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 3})
			r.do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: enclaves.Region{Addr: 0, Size: 62 * mib}})
			return uid
		}, 0, 0, syscall.ENOMEM},
		{"no CPU", func(r *rig) uint64 {
			uid := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
			r.do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: enclaves.Region{Addr: 0, Size: 64 * mib}})
			return uid
		}, 0, 0, syscall.EINVAL},
		{"half a core", func(r *rig) uint64 {
			uid := full(r)
			r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 7})
			return uid
		}, 0, 0, syscall.EINVAL},
		{"core shared with another slot", func(r *rig) uint64 {
			other := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
			r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: other, VCPU: 6})
			uid := full(r)
			r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 7})
			return uid
		}, 0, 0, syscall.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newProbed(t, nil)
			uid := tt.slot(r)
			had, launches := len(r.hyp.Enclaves()), 0
			r.hyp.OnLaunch(func(context.Context, enclaves.LaunchConfig) error { launches++; return nil })
			reply, err := r.drv.Do(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: uid, CID: tt.cid, Flags: tt.flag})
			if !errorIs(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			launched := r.hyp.Enclaves()[had:]
			if err != nil {
				if launches > 0 {
					t.Error("the hypervisor was asked")
				}
				if state := r.state(uid); state != enclaves.StateInit {
					t.Errorf("state %v", state)
				}
				return
			}
			cid := uint32(tt.cid)
			if cid == 0 {
				cid = 16
			}
			if diff := cmp.Diff(enclaves.Reply{SlotUID: uid, CID: uint64(cid)}, reply); diff != "" {
				t.Errorf("reply %s", diff)
			}
			want := enclaves.LaunchConfig{
				SlotUID: uid, CID: uint32(tt.cid), Debug: tt.flag == 1,
				Memory: []enclaves.Region{{Addr: 0, Size: 64 * mib}}, CPUs: []uint32{2, 3},
			}
			if diff := cmp.Diff(want, launched[0].Config); diff != "" {
				t.Errorf("launch %s", diff)
			}
			info := enclaves.Reply{SlotUID: uid, MemRegions: 1, MemSize: 64 * mib, VCPUs: 2, Flags: tt.flag, State: enclaves.StateRunning}
			if diff := cmp.Diff(info, r.do(enclaves.SlotInfo, slotRequest(uid))); diff != "" {
				t.Errorf("info %s", diff)
			}
			if got := r.do(enclaves.EnclaveGetSlot, enclaves.GetSlotRequest{CID: uint64(cid)}).SlotUID; got != uid {
				t.Errorf("CID %d is in slot %#x", cid, got)
			}
			if _, err := r.drv.Do(enclaves.EnclaveGetSlot, enclaves.GetSlotRequest{CID: uint64(cid) + 1<<32}); !errorIs(err, syscall.ENOENT) {
				t.Errorf("CID of 33 bits: %v", err)
			}
		})
	}
}
