package enclaves_test

import (
	"math"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

func TestAddMem(t *testing.T) {
	type region = enclaves.Region
	for _, tt := range []struct {
		name  string
		given []region // to this slot
		other []region // to another
		add   region
		want  error
	}{
		{"least", nil, nil, region{0, 2 * mib}, nil},
		{"all below the hole", nil, nil, region{0, gib}, nil},
		{"last of the RAM", nil, nil, region{5*gib - 2*mib, 2 * mib}, nil},
		{"empty", nil, nil, region{2 * mib, 0}, syscall.EINVAL},
		{"empty, at 0", nil, nil, region{0, 0}, syscall.EINVAL},
		{"address not aligned", nil, nil, region{mib, 2 * mib}, syscall.EINVAL},
		{"address off by one", nil, nil, region{1, 2 * mib}, syscall.EINVAL},
		{"size not aligned", nil, nil, region{0, 3 * mib}, syscall.EINVAL},
		{"size of a byte", nil, nil, region{0, 1}, syscall.EINVAL},
		{"reaches 2^64", nil, nil, region{math.MaxUint64 - 2*mib + 1, 2 * mib}, syscall.EINVAL}, // not RAM
		{"wraps around", nil, nil, region{math.MaxUint64 - 2*mib + 1, 4 * mib}, syscall.EINVAL},
		{"wraps around into RAM", nil, nil, region{4 * gib, math.MaxUint64 - 2*mib + 1}, syscall.EINVAL},
		{"in the hole", nil, nil, region{2 * gib, 2 * mib}, syscall.EINVAL},
		{"into the hole", nil, nil, region{gib - 2*mib, 4 * mib}, syscall.EINVAL},
		{"beyond RAM", nil, nil, region{5 * gib, 2 * mib}, syscall.EINVAL},
		{"same again", []region{{4 * mib, 4 * mib}}, nil, region{4 * mib, 4 * mib}, syscall.EEXIST},
		{"same of another slot", nil, []region{{4 * mib, 4 * mib}}, region{4 * mib, 4 * mib}, syscall.EEXIST},
		{"begins inside", nil, []region{{4 * mib, 4 * mib}}, region{6 * mib, 4 * mib}, syscall.EEXIST},
		{"ends inside", nil, []region{{4 * mib, 4 * mib}}, region{2 * mib, 4 * mib}, syscall.EEXIST},
		{"within", nil, []region{{4 * mib, 8 * mib}}, region{6 * mib, 2 * mib}, syscall.EEXIST},
		{"around", nil, []region{{4 * mib, 2 * mib}}, region{2 * mib, 8 * mib}, syscall.EEXIST},
		{"just below", nil, []region{{4 * mib, 4 * mib}}, region{2 * mib, 2 * mib}, nil},
		{"just above", nil, []region{{4 * mib, 4 * mib}}, region{8 * mib, 2 * mib}, nil},
		{"between", []region{{8 * mib, 2 * mib}}, []region{{4 * mib, 2 * mib}}, region{6 * mib, 2 * mib}, nil},
		{"between and more", []region{{8 * mib, 2 * mib}}, []region{{4 * mib, 2 * mib}}, region{6 * mib, 4 * mib}, syscall.EEXIST},
		{"one too many", []region{{0, 2 * mib}, {4 * mib, 2 * mib}, {8 * mib, 2 * mib}}, nil, region{12 * mib, 2 * mib}, syscall.ENOSPC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newProbed(t, func(c *enclaves.Config) { c.MaxRegions = 3 })
			alloc := func(regions []region) uint64 {
				reply := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{})
				if reply.MemRegions != 3 {
					t.Errorf("%d regions promised", reply.MemRegions)
				}
				for _, g := range regions {
					r.do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: reply.SlotUID, Region: g})
				}
				return reply.SlotUID
			}
			alloc(tt.other)
			uid := alloc(tt.given)
			reply, err := r.drv.Do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: tt.add})
			if !errorIs(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			n := uint64(len(tt.given))
			if err == nil {
				n++
				if reply.SlotUID != uid {
					t.Errorf("reply %+v", reply)
				}
			}
			if got := r.do(enclaves.SlotInfo, slotRequest(uid)).MemRegions; got != n {
				t.Errorf("%d regions, want %d", got, n)
			}
		})
	}
}

// credulous is a hypervisor that takes any address for RAM.
type credulous struct{ enclaves.Hypervisor }

func (credulous) HasRAM(enclaves.Region) bool { return true }

// Hypervisors are promised regions that do not wrap around.
func TestAddMemThatWrapsAround(t *testing.T) {
	r := newProbed(t, func(c *enclaves.Config) { c.Hypervisor = credulous{c.Hypervisor} })
	uid := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
	top := uint64(math.MaxUint64 - 2*mib + 1)
	for _, g := range []enclaves.Region{{Addr: top, Size: 4 * mib}, {Addr: 4 * mib, Size: top}} {
		if _, err := r.drv.Do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: g}); !errorIs(err, syscall.EINVAL) {
			t.Errorf("%#x: %v", g, err)
		}
	}
	r.do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: enclaves.Region{Addr: top, Size: 2 * mib}})
	for _, g := range []enclaves.Region{{Addr: top, Size: 2 * mib}, {Addr: top - 2*mib, Size: 4 * mib}} {
		if _, err := r.drv.Do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: g}); !errorIs(err, syscall.EEXIST) {
			t.Errorf("%#x: %v", g, err)
		}
	}
}

// Memory reaches the hypervisor in the order in which it was given, whatever its
// addresses and sizes.
func TestMemoryOrder(t *testing.T) {
	r := newProbed(t, nil)
	uid := r.do(enclaves.SlotAlloc, enclaves.EmptyRequest{}).SlotUID
	want := []enclaves.Region{
		{Addr: 4*gib + 2*mib, Size: 2 * mib}, {Addr: 64 * mib, Size: 64 * mib}, {Addr: 0, Size: 2 * mib},
		{Addr: 4 * gib, Size: 2 * mib}, {Addr: 32 * mib, Size: 6 * mib},
	}
	for _, g := range want {
		r.do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: uid, Region: g})
	}
	cpus := []uint32{5, 2, 4, 3}
	for _, n := range cpus {
		r.do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: uid, VCPU: n})
	}
	cid := r.do(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: uid}).CID
	c := r.hyp.Enclave(cid).Config
	if diff := cmp.Diff(want, c.Memory); diff != "" {
		t.Errorf("memory %s", diff)
	}
	if diff := cmp.Diff(cpus, c.CPUs); diff != "" {
		t.Errorf("CPUs %s", diff)
	}
	r.do(enclaves.EnclaveStop, slotRequest(uid))
	r.do(enclaves.SlotFree, slotRequest(uid))
	if diff := cmp.Diff(want, r.hyp.Scrubbed()); diff != "" {
		t.Errorf("scrubbed %s", diff)
	}
}
