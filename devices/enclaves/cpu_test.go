package enclaves_test

import (
	"math"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

func TestAddVCPU(t *testing.T) {
	for _, tt := range []struct {
		name    string
		threads int
		cpu     uint32
		want    error
	}{
		{"any", 2, 4, nil},
		{"last", 2, 7, nil},
		{"CPU 0", 2, 0, syscall.EINVAL},
		{"sibling of CPU 0", 2, 1, syscall.EINVAL},
		{"CPU 1 on a core of its own", 1, 1, nil},
		{"CPU 0 on a core of its own", 1, 0, syscall.EINVAL},
		{"one too high", 2, 8, syscall.EINVAL},
		{"highest number", 2, math.MaxUint32, syscall.EINVAL},
		{"of this slot", 2, 2, syscall.EEXIST},
		{"of another slot", 2, 6, syscall.EEXIST},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newProbed(t, func(c *enclaves.Config) { c.ThreadsPerCore = tt.threads })
			other := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
			r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: other, VCPU: 6})
			uid := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
			r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: 2})
			if _, err := r.drv.Do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: tt.cpu}); !errorIs(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAddBulkVCPUs(t *testing.T) {
	for _, tt := range []struct {
		name        string
		mine, other []uint32
		n           uint64
		cpus        []uint32 // of the slot, after
		want        error
	}{
		{"two", nil, nil, 2, []uint32{2, 3}, nil},
		{"all", nil, nil, 6, []uint32{2, 3, 4, 5, 6, 7}, nil},
		{"one more than there are", nil, nil, 7, nil, syscall.ENOSPC},
		{"very many", nil, nil, math.MaxUint64, nil, syscall.ENOSPC},
		{"none", nil, nil, 0, nil, syscall.EINVAL},
		{"completes a core first", []uint32{5}, nil, 1, []uint32{5, 4}, nil},
		{"completes a core, and goes on", []uint32{7}, nil, 3, []uint32{7, 6, 2, 3}, nil},
		{"leaves the core of another alone", nil, []uint32{3}, 2, []uint32{4, 5}, nil},
		{"cores that others began do not count", nil, []uint32{3, 5}, 4, nil, syscall.ENOSPC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newProbed(t, nil)
			alloc := func(cpus []uint32) uint64 {
				uid := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
				for _, n := range cpus {
					r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: n})
				}
				return uid
			}
			alloc(tt.other)
			uid := alloc(tt.mine)
			if _, err := r.drv.Do(enclaves.SlotAddBulkVCPUs, enclaves.AddBulkVCPUsRequest{SlotUID: uid, Count: tt.n}); !errorIs(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			want := tt.cpus
			if tt.want != nil {
				want = tt.mine
			}
			if diff := cmp.Diff(want, r.dev.Slots()[1].CPUs); diff != "" {
				t.Error(diff)
			}
		})
	}
}
