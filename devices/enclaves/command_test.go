package enclaves_test

import (
	"math"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

const noSlot = 0xdead

// Every command against a slot in every state.
func TestCommandInEveryState(t *testing.T) {
	region := enclaves.Region{Addr: 512 * mib, Size: 2 * mib}
	for _, tt := range []struct {
		c                               enclaves.Command
		r                               func(uid uint64) enclaves.Request
		none, initial, running, stopped error
	}{
		{enclaves.EnclaveStart, func(uid uint64) enclaves.Request { return enclaves.StartRequest{SlotUID: uid} },
			syscall.ENOENT, nil, syscall.EBUSY, syscall.EPERM},
		{enclaves.EnclaveStop, slotRequest, syscall.ENOENT, syscall.EPERM, nil, nil},
		{enclaves.SlotFree, slotRequest, syscall.ENOENT, nil, syscall.EBUSY, nil},
		{enclaves.SlotInfo, slotRequest, syscall.ENOENT, nil, nil, nil},
		{enclaves.NextSlot, slotRequest, syscall.ENOENT, nil, nil, nil},
		{enclaves.SlotAddMem, func(uid uint64) enclaves.Request { return enclaves.AddMemRequest{SlotUID: uid, Region: region} },
			syscall.ENOENT, nil, syscall.EBUSY, syscall.EPERM},
		{enclaves.SlotAddVCPU, func(uid uint64) enclaves.Request { return enclaves.AddVCPURequest{SlotUID: uid, VCPU: 7} },
			syscall.ENOENT, nil, syscall.EBUSY, syscall.EPERM},
		{enclaves.SlotAddBulkVCPUs, func(uid uint64) enclaves.Request { return enclaves.AddBulkVCPUsRequest{SlotUID: uid, Count: 1} },
			syscall.ENOENT, nil, syscall.EBUSY, syscall.EPERM},
		{enclaves.SlotAlloc, func(uint64) enclaves.Request { return enclaves.EmptyRequest{} }, nil, nil, nil, nil},
		{enclaves.SlotCount, func(uint64) enclaves.Request { return enclaves.EmptyRequest{} }, nil, nil, nil, nil},
		{enclaves.EnclaveGetSlot, func(uint64) enclaves.Request { return enclaves.GetSlotRequest{CID: 16} },
			syscall.ENOENT, syscall.ENOENT, nil, syscall.ENOENT},
		{0, slotRequest, syscall.EINVAL, syscall.EINVAL, syscall.EINVAL, syscall.EINVAL},
		{12, slotRequest, syscall.EINVAL, syscall.EINVAL, syscall.EINVAL, syscall.EINVAL},
		{math.MaxUint32, slotRequest, syscall.EINVAL, syscall.EINVAL, syscall.EINVAL, syscall.EINVAL},
	} {
		t.Run(tt.c.String(), func(t *testing.T) {
			for _, state := range []struct {
				name string
				make func(r *rig) uint64
				want error
			}{
				{"none", func(*rig) uint64 { return noSlot }, tt.none},
				{"init", func(r *rig) uint64 { return r.slot(0, 1) }, tt.initial},
				{"running", func(r *rig) uint64 { uid, _ := r.start(0, 1); return uid }, tt.running},
				{"stopped", func(r *rig) uint64 {
					uid, _ := r.start(0, 1)
					r.do(enclaves.EnclaveStop, slotRequest(uid))
					return uid
				}, tt.stopped},
				{"ended", func(r *rig) uint64 { uid, e := r.start(0, 1); r.crash(uid, e); return uid }, tt.stopped},
			} {
				t.Run(state.name, func(t *testing.T) {
					r := newProbed(t, nil)
					uid := state.make(r)
					before := r.dev.Slots()
					reply, err := r.drv.Do(tt.c, tt.r(uid))
					if !errorIs(err, state.want) {
						t.Fatalf("error %v, want %v", err, state.want)
					}
					if err != nil {
						if diff := cmp.Diff(enclaves.Reply{RC: -int32(state.want.(syscall.Errno))}, reply); diff != "" {
							t.Errorf("a failed command has only rc: %s", diff)
						}
						if diff := cmp.Diff(before, r.dev.Slots()); diff != "" {
							t.Errorf("a failed command changes nothing: %s", diff)
						}
					}
				})
			}
		})
	}
}

func slotRequest(uid uint64) enclaves.Request { return enclaves.SlotRequest{SlotUID: uid} }

func TestSlotList(t *testing.T) {
	r := newProbed(t, nil)
	count := func(want uint64) {
		t.Helper()
		if diff := cmp.Diff(enclaves.Reply{SlotCount: want}, r.do(enclaves.SlotCount, enclaves.EmptyRequest{})); diff != "" {
			t.Errorf("count %s", diff)
		}
	}
	walk := func() (all []uint64) {
		t.Helper()
		for uid := uint64(0); ; all = append(all, uid) {
			if uid = r.do(enclaves.NextSlot, slotRequest(uid)).SlotUID; uid == 0 {
				return all
			}
		}
	}
	count(0)
	if got := walk(); got != nil {
		t.Errorf("slots %x", got)
	}
	var uids []uint64
	for range 4 {
		reply := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{})
		if diff := cmp.Diff(enclaves.Reply{SlotUID: reply.SlotUID, MemRegions: 65536}, reply); diff != "" {
			t.Errorf("alloc %s", diff)
		}
		uids = append(uids, reply.SlotUID)
	}
	count(4)
	if diff := cmp.Diff(uids, walk()); diff != "" {
		t.Error(diff)
	}
	if _, err := r.drv.Do(enclaves.SlotAlloc, enclaves.EmptyRequest{}); !errorIs(err, syscall.ENOSPC) {
		t.Errorf("fifth slot: %v", err)
	}
	r.do(enclaves.SlotFree, slotRequest(uids[1]))
	count(3)
	r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{})
	if diff := cmp.Diff([]uint64{0x1701, 0x1703, 0x1704, 0x1705}, walk()); diff != "" {
		t.Error(diff)
	}
}

func TestSlotUIDs(t *testing.T) {
	for _, tt := range []struct {
		name string
		uid  func() uint64
		want []uint64
	}{
		{"zero", func() uint64 { return 0 }, []uint64{1, 2, 3}},
		{"always the same", func() uint64 { return 7 }, []uint64{7, 8, 9}},
		{"highest", func() uint64 { return math.MaxUint64 }, []uint64{math.MaxUint64, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newProbed(t, func(c *enclaves.Config) { c.NewSlotUID = tt.uid })
			var got []uint64
			for range tt.want {
				got = append(got, r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("random", func(t *testing.T) {
		r := newProbed(t, func(c *enclaves.Config) { c.NewSlotUID = nil })
		a := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
		b := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
		if a == 0 || b == 0 || a == b || a+1 == b {
			t.Errorf("%#x, %#x", a, b)
		}
	})
}

// What a slot had is free again once it is freed, not before.
func TestFreedResources(t *testing.T) {
	r := newProbed(t, nil)
	uid, e := r.start(0, 1)
	r.crash(uid, e)
	other := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
	mem := enclaves.AddMemRequest{SlotUID: other, Region: enclaves.Region{Addr: 62 * mib, Size: 4 * mib}}
	cpu := enclaves.AddVCPURequest{SlotUID: other, VCPU: 3}
	if _, err := r.drv.Do(enclaves.SlotAddMem, mem); !errorIs(err, syscall.EEXIST) {
		t.Errorf("memory: %v", err)
	}
	if _, err := r.drv.Do(enclaves.SlotAddVCPU, cpu); !errorIs(err, syscall.EEXIST) {
		t.Errorf("CPU: %v", err)
	}
	r.do(enclaves.SlotFree, slotRequest(uid))
	r.do(enclaves.SlotAddMem, mem)
	r.do(enclaves.SlotAddVCPU, cpu)
	if !e.Stopped() {
		t.Error("the enclave that ended by itself was not stopped")
	}
}
