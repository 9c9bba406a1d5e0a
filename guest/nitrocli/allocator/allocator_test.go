package allocator

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const small, large = 2048, 1048576 // KiB

// fourCPUs is the instance of the tests with the real driver: two cores of two
// threads on one node.
func fourCPUs() [][][]uint32 { return [][][]uint32{{{0, 1}, {2, 3}}} }

func TestRunByCount(t *testing.T) {
	tests := []struct {
		name  string
		nodes [][][]uint32
		sizes []int
		room  map[int]int64 // of nodes; others have enough
		c     Config
		pool  string
		pages map[string]int64
	}{
		{
			name: "one core", nodes: fourCPUs(), sizes: []int{small}, c: Config{MemoryMiB: 512, CPUCount: 2},
			pool: "2-3", pages: map[string]int64{nr(0, small): 256},
		},
		{
			name: "siblings far apart", nodes: [][][]uint32{{{0, 4}, {1, 5}, {2, 6}, {3, 7}}}, sizes: []int{small}, c: Config{MemoryMiB: 1, CPUCount: 4},
			pool: "1-2,5-6", pages: map[string]int64{nr(0, small): 1},
		},
		{
			name: "one thread per core", nodes: [][][]uint32{{{0}, {1}, {2}}}, sizes: []int{small}, c: Config{MemoryMiB: 2, CPUCount: 1},
			pool: "1", pages: map[string]int64{nr(0, small): 1},
		},
		{
			name: "core that is not whole", nodes: [][][]uint32{{{0, 1}, {2}, {4, 5}}}, sizes: []int{small}, c: Config{MemoryMiB: 2, CPUCount: 2},
			pool: "4-5", pages: map[string]int64{nr(0, small): 1},
		},
		{
			name: "large pages first", nodes: fourCPUs(), sizes: []int{small, large}, c: Config{MemoryMiB: 2*1024 + 513, CPUCount: 2},
			pool: "2-3", pages: map[string]int64{nr(0, large): 2, nr(0, small): 257},
		},
		{
			name: "fewer large pages than wanted", nodes: fourCPUs(), sizes: []int{small, large}, room: map[int]int64{0: 1<<30 + 600<<20}, c: Config{MemoryMiB: 1024 + 512, CPUCount: 2},
			pool: "2-3", pages: map[string]int64{nr(0, large): 1, nr(0, small): 256},
		},
		{
			name: "second node", nodes: [][][]uint32{{{0, 1}, {2, 3}}, {{4, 5}, {6, 7}}}, sizes: []int{small}, c: Config{MemoryMiB: 4, CPUCount: 4},
			pool: "4-7", pages: map[string]int64{nr(0, small): 0, nr(1, small): 2},
		},
		{
			name: "memory on the second node only", nodes: [][][]uint32{{{0, 1}, {2, 3}}, {{4, 5}, {6, 7}}}, sizes: []int{small}, room: map[int]int64{0: 2 << 20}, c: Config{MemoryMiB: 64, CPUCount: 2},
			pool: "4-5", pages: map[string]int64{nr(0, small): 0, nr(1, small): 32},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, tt.nodes, tt.sizes...)
			for node, room := range tt.room {
				m.room[node] = room
			}
			var out strings.Builder
			if err := Run(m, tt.c, &out); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if m.pool() != tt.pool {
				t.Errorf("pool is %q, want %q", m.pool(), tt.pool)
			}
			for path, want := range tt.pages {
				if got := m.count(path); got != want {
					t.Errorf("%s is %d, want %d", path, got, want)
				}
			}
			if !strings.Contains(out.String(), "Successfully allocated Nitro Enclaves resources: ") {
				t.Errorf("output:\n%s", out.String())
			}
		})
	}
}

// The order of what reaches the kernel: CPUs come back first, all pages are given
// back before some are taken, the CPUs go last.
func TestOrderOfWrites(t *testing.T) {
	m := newMachine(t, fourCPUs(), small, large)
	if err := Run(m, Config{MemoryMiB: 512, CPUCount: 2}, io.Discard); err != nil {
		t.Fatal(err)
	}
	want := []string{
		PoolPath,
		"1048576kB/nr_hugepages 0", "2048kB/nr_hugepages 0",
		"1048576kB/nr_hugepages 0", "2048kB/nr_hugepages 256",
		PoolPath + " 2-3",
	}
	if diff := cmp.Diff(want, m.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestRunByPool(t *testing.T) {
	m := newMachine(t, [][][]uint32{{{0, 1}}, {{2, 3}, {4, 5}}}, small)
	var out strings.Builder
	if err := Run(m, Config{MemoryMiB: 3, CPUPool: []uint32{5, 4}}, &out); err != nil {
		t.Fatal(err)
	}
	if m.pool() != "4-5" || m.count(nr(1, small)) != 2 || m.count(nr(0, small)) != 0 {
		t.Errorf("pool %q, pages %d and %d", m.pool(), m.count(nr(0, small)), m.count(nr(1, small)))
	}
	if !strings.HasSuffix(out.String(), "resources: 3 MiB, CPU pool: 4-5\n") {
		t.Errorf("output:\n%s", out.String())
	}
}

// Whatever fails, the CPUs are on-line afterwards and the pages what they were.
func TestRunFails(t *testing.T) {
	byCount := Config{MemoryMiB: 64, CPUCount: 2}
	byPool := Config{MemoryMiB: 64, CPUPool: []uint32{2, 3}}
	tests := []struct {
		name  string
		setup func(m *machine)
		c     Config
		is    error
		text  string
		pool  string // afterwards
	}{
		{name: "no driver", setup: func(m *machine) { m.remove(PoolPath) }, c: byCount, text: "the driver nitro_enclaves is not loaded", pool: "-"},
		{name: "an enclave runs", setup: func(m *machine) { m.file(PoolPath, "2-3\n"); m.fail[PoolPath+" "] = syscall.EPERM }, c: byCount, is: ErrEnclavesRun, pool: "2-3"},
		{name: "CPUs stay off-line", setup: func(m *machine) { m.fail[PoolPath+" "] = syscall.EIO }, c: byCount, is: syscall.EIO},
		{name: "more CPUs than there are", c: Config{MemoryMiB: 64, CPUCount: 6}, text: "the instance has 4 CPUs"},
		{name: "half a core", c: Config{MemoryMiB: 64, CPUCount: 1}, text: "not a multiple of 2"},
		{name: "the core of CPU 0", c: Config{MemoryMiB: 64, CPUCount: 4}, text: "besides the core of CPU 0"},
		{name: "no CPUs", setup: func(m *machine) { m.remove(cpuDir + "/online") }, c: byCount, text: "read CPUs"},
		{name: "CPUs of words", setup: func(m *machine) { m.file(cpuDir+"/online", "all") }, c: byCount, text: "read CPUs"},
		{name: "no siblings", setup: func(m *machine) { m.remove(cpuDir + "/cpu2/topology") }, c: byCount, text: "read CPUs"},
		{name: "siblings without itself", setup: func(m *machine) { m.file(cpuDir+"/cpu2/topology/thread_siblings_list", "3") }, c: byCount, text: "CPU 2 is not among"},
		{name: "no node", setup: func(m *machine) { m.remove(cpuDir + "/cpu2/node0") }, c: byCount, is: MissingNode},
		{name: "no CPU directory", setup: func(m *machine) { m.remove(cpuDir + "/cpu3") }, c: byPool, is: MissingNode},
		{name: "two nodes", setup: func(m *machine) { m.remove(cpuDir + "/cpu3/node0"); m.file(cpuDir+"/cpu3/node1/x", "") }, c: byPool, is: InvalidNode},
		{name: "no huge pages", setup: func(m *machine) { m.remove("/sys/devices/system/node/node0/hugepages") }, c: byCount, is: SetPage},
		{name: "no sizes", setup: func(m *machine) {
			m.remove("/sys/devices/system/node/node0/hugepages/hugepages-2048kB")
			m.remove("/sys/devices/system/node/node0/hugepages/hugepages-1048576kB")
		}, c: byCount, is: SetPage},
		{name: "pages are not given back", setup: func(m *machine) { m.fail[nr(0, small)+" 0"] = syscall.EBUSY }, c: byCount, is: ClearPage},
		{name: "pages are not given", setup: func(m *machine) { m.fail[nr(0, small)+" 32"] = syscall.EINVAL }, c: byCount, is: SetPage},
		{name: "too little memory", setup: func(m *machine) { m.room[0] = 60 << 20 }, c: byCount, is: InsufficientMemory},
		{name: "too little memory for the pool", setup: func(m *machine) { m.room[0] = 60 << 20 }, c: byPool, is: InsufficientMemory},
		{name: "pages in use", setup: func(m *machine) { m.stuck[nr(0, small)] = 33 }, c: byCount, is: InsufficientMemory},
		{name: "no roll-back", setup: func(m *machine) { m.stuck[nr(0, small)] = 33; m.file(nr(0, small), "40\n"); m.room[0] = 70 << 20 }, c: byCount, is: RollbackPage},
		{name: "roll-back refused", setup: func(m *machine) {
			m.room[0] = 60 << 20
			m.file(nr(0, small), "7\n")
			m.fail[nr(0, small)+" 7"] = syscall.EIO
		}, c: byCount, is: syscall.EIO},
		{name: "the driver refuses the pool", setup: func(m *machine) { m.fail[PoolPath+" 2-3"] = syscall.EINVAL }, c: byCount, is: syscall.EINVAL, text: "configure the CPU pool 2-3"},
		{name: "the driver refuses the given pool", setup: func(m *machine) { m.fail[PoolPath+" 2-3"] = syscall.EINVAL }, c: byPool, is: syscall.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, fourCPUs(), small, large)
			m.file(nr(0, small), "5\n")
			if tt.setup != nil {
				tt.setup(m)
			}
			var out strings.Builder
			err := Run(m, tt.c, &out)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("error is %v, want %v with %q\n%s", err, tt.is, tt.text, out.String())
			}
			if strings.Contains(out.String(), "Successfully") {
				t.Errorf("output:\n%s", out.String())
			}
			if tt.pool != "-" && m.pool() != tt.pool {
				t.Errorf("pool is %q, want %q", m.pool(), tt.pool)
			}
			switch {
			case errors.Is(err, RollbackPage), errors.Is(err, ClearPage), strings.Contains(tt.name, "refused"),
				strings.Contains(tt.name, "sizes"), strings.Contains(tt.name, "no huge"), strings.Contains(tt.name, "in use"):
			default:
				if got := m.count(nr(0, small)); got != 5 {
					t.Errorf("%d pages, were 5", got)
				}
			}
		})
	}
}

// Roll-back says so when the pages that were there cannot be had again.
func TestEmptyPool(t *testing.T) {
	if _, err := commonNode(Root(t.TempDir()), nil); !errors.Is(err, EmptyCPUPool) {
		t.Errorf("error is %v, want %v", err, EmptyCPUPool)
	}
}

func TestCodes(t *testing.T) {
	for c := EmptyCPUPool; c <= InsufficientMemory; c++ {
		if text := c.Error(); strings.Contains(text, "unknown") || !strings.HasSuffix(text, ")") {
			t.Errorf("%d is %q", int(c), text)
		}
	}
	if text := Code(207).Error(); text != "unknown error (207)" {
		t.Errorf("207 is %q", text)
	}
	if int(EmptyCPUPool) != 200 || int(MissingNode) != 201 || int(InvalidNode) != 202 || int(ClearPage) != 203 ||
		int(SetPage) != 204 || int(RollbackPage) != 205 || int(InsufficientMemory) != 206 {
		t.Error("numbers are not AWS's")
	}
}

// An empty list is one that the driver obeys and complains of.
func TestComplaintAboutEmptyPool(t *testing.T) {
	m := newMachine(t, fourCPUs(), small)
	m.fail[PoolPath+" "] = syscall.EINVAL
	if err := Run(m, Config{MemoryMiB: 2, CPUCount: 2}, io.Discard); err != nil || m.pool() != "2-3" {
		t.Errorf("pool %q, error %v", m.pool(), err)
	}
	if err := Run(m, Config{MemoryMiB: 2, CPUCount: 2}, io.Discard); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("CPUs that stay off-line: error %v", err)
	}
}

// A second run gives what the first one took, and takes anew.
func TestRunAgain(t *testing.T) {
	m := newMachine(t, fourCPUs(), small)
	for _, mib := range []uint64{512, 64} {
		if err := Run(m, Config{MemoryMiB: mib, CPUCount: 2}, io.Discard); err != nil {
			t.Fatal(err)
		}
		if got := m.count(nr(0, small)); got != int64(mib/2) || m.pool() != "2-3" {
			t.Errorf("%d pages for %d MiB, pool %q", got, mib, m.pool())
		}
	}
}

// Memory that is in pieces is compacted, a few times.
func TestCompacts(t *testing.T) {
	for _, tt := range []struct {
		room, each int64 // MiB
		want       error
	}{
		{500, 12, nil},
		{500, 4, nil},
		{500, 2, InsufficientMemory},
	} {
		m := newMachine(t, fourCPUs(), small)
		m.file(compactPath, "0\n")
		m.room[0], m.compacted = tt.room<<20, tt.each<<20
		err := Run(m, Config{MemoryMiB: 512, CPUCount: 2}, io.Discard)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("room for %d MiB and %d more each time: %v, want %v", tt.room, tt.each, err, tt.want)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no output") }

func TestRootWrites(t *testing.T) {
	m := newMachine(t, fourCPUs(), small)
	if err := m.root.WriteFile(PoolPath, []byte("7\n")); err != nil || m.pool() != "7" {
		t.Errorf("pool %q, error %v", m.pool(), err)
	}
	if err := m.root.WriteFile(cpuDir, []byte("7\n")); err == nil {
		t.Error("a directory was written")
	}
	if err := Run(m, Config{MemoryMiB: 2, CPUCount: 2}, failingWriter{}); err != nil || m.pool() != "2-3" {
		t.Errorf("without output: pool %q, error %v", m.pool(), err)
	}
}
