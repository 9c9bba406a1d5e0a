package pci_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

func TestBARErrors(t *testing.T) {
	file := backing(t, 8192)
	h := &ram{}
	tests := []struct {
		name  string
		bars  [6]pci.BAR
		field string // "" if it is in order
	}{
		{"none", [6]pci.BAR{}, ""},
		{"smallest", [6]pci.BAR{{Size: 4096}, {Size: 16, IO: true}}, ""},
		{"largest", [6]pci.BAR{{Size: 1 << 31}, {Size: 256, IO: true}, {Size: 1 << 62, Is64: true}}, ""},
		{"three wide ones", [6]pci.BAR{0: {Size: 4096, Is64: true}, 2: {Size: 4096, Is64: true}, 4: {Size: 4096, Is64: true}}, ""},
		{"file", [6]pci.BAR{{Size: 8192, File: file}}, ""},
		{"half a page", [6]pci.BAR{{Size: 2048}}, "BARs[0].Size"},
		{"not a power of two", [6]pci.BAR{5: {Size: 12288}}, "BARs[5].Size"},
		{"4 GiB in 32 bits", [6]pci.BAR{{Size: 1 << 32}}, "BARs[0].Size"},
		{"too large", [6]pci.BAR{{Size: 1 << 63, Is64: true}}, "BARs[0].Size"},
		{"8 ports", [6]pci.BAR{{Size: 8, IO: true}}, "BARs[0].Size"},
		{"512 ports", [6]pci.BAR{{Size: 512, IO: true}}, "BARs[0].Size"},
		{"no size", [6]pci.BAR{3: {Handler: h}}, "BARs[3].Size"},
		{"wide ports", [6]pci.BAR{{Size: 256, IO: true, Is64: true}}, "BARs[0].IO"},
		{"prefetchable ports", [6]pci.BAR{{Size: 256, IO: true, Prefetchable: true}}, "BARs[0].IO"},
		{"wide at the end", [6]pci.BAR{5: {Size: 4096, Is64: true}}, "BARs[5].Is64"},
		{"upper half in use", [6]pci.BAR{{Size: 4096, Is64: true}, {Size: 4096}}, "BARs[0].Is64"},
		{"upper half described", [6]pci.BAR{{Size: 4096, Is64: true}, {Prefetchable: true}}, "BARs[0].Is64"},
		{"file and handler", [6]pci.BAR{{Size: 4096, File: file, Handler: h}}, "BARs[0].File"},
		{"file behind ports", [6]pci.BAR{{Size: 256, IO: true, File: file}}, "BARs[0].File"},
		{"file too short", [6]pci.BAR{{Size: 16384, File: file}}, "BARs[0].File"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pci.New(pci.Config{BARs: test.bars})
			bad, ok := errors.AsType[*pci.ConfigError](err)
			if test.field == "" && err != nil || test.field != "" && (!ok || bad.Field != test.field) {
				t.Errorf("error %v, want one of %q", err, test.field)
			}
		})
	}
	_, err := pci.New(pci.Config{BARs: [6]pci.BAR{{Size: 4096, File: file}}, MSIX: pci.MSIXConfig{Vectors: 1, PBA: 16}})
	if bad, ok := errors.AsType[*pci.ConfigError](err); !ok || bad.Field != "MSIX.BAR" {
		t.Errorf("MSI-X in a file: %v", err)
	}
	shut := backing(t, 4096)
	if err := shut.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pci.New(pci.Config{BARs: [6]pci.BAR{{Size: 4096, File: shut}}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file: %v", err)
	}
}

// backing makes a file of n bytes.
func backing(t *testing.T, n int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "bar"))
	if err == nil {
		err = f.Truncate(n)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // some tests close it
	return f
}

func TestBARInfo(t *testing.T) {
	f := newFunction(t, everything())
	want := map[int]pci.BARInfo{
		0: {Size: 1 << 14}, 1: {Size: 64, IO: true},
		2: {Size: 1 << 33, Is64: true, Prefetchable: true}, 4: {Size: 1 << 12, Is64: true},
	}
	for i := -1; i < 7; i++ {
		if diff := cmp.Diff(want[i], f.BAR(i), cmp.AllowUnexported(os.File{})); diff != "" {
			t.Errorf("BAR %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestSplit checks that a handler sees nothing but naturally aligned accesses.
func TestSplit(t *testing.T) {
	tests := []struct {
		off  uint64
		n    int
		want []uint64 // offset and length, one after the other
	}{
		{0, 8, []uint64{0, 8}},
		{4, 4, []uint64{4, 4}},
		{3, 1, []uint64{3, 1}},
		{4, 8, []uint64{4, 4, 8, 4}},
		{1, 7, []uint64{1, 1, 2, 2, 4, 4}},
		{0, 7, []uint64{0, 4, 4, 2, 6, 1}},
		{6, 20, []uint64{6, 2, 8, 8, 16, 8, 24, 2}},
		{4096 - 3, 3, []uint64{4093, 1, 4094, 2}},
		{4096, 0, nil},
	}
	for _, test := range tests {
		h := &ram{mem: make([]byte, 4096), record: true}
		_, b := start(t, pci.Config{BARs: [6]pci.BAR{{Size: 4096, Handler: h}}})
		f := h.mem
		for i := range f {
			f[i] = byte(i * 7)
		}
		p := make([]byte, test.n)
		for _, write := range []bool{false, true} {
			h.accesses = nil
			var err error
			if write {
				err = b.Function().WriteBAR(0, test.off, p)
			} else {
				err = b.Function().ReadBAR(0, test.off, p)
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []access
			for i := 0; i < len(test.want); i += 2 {
				o, n := test.want[i], test.want[i+1]
				want = append(want, access{write, o, bytes.Clone(h.mem[o : o+n])})
			}
			if diff := cmp.Diff(want, h.accesses); diff != "" {
				t.Errorf("%#x+%d, write %v (-want +got):\n%s", test.off, test.n, write, diff)
			}
		}
	}
}

func TestBARRange(t *testing.T) {
	f, _ := start(t, everything())
	tests := []struct {
		bar int
		off uint64
		n   int
		ok  bool
	}{
		{0, 0, 1 << 14, true}, {0, 1 << 14, 0, true}, {0, 1<<14 - 1, 1, true}, {2, 1<<33 - 8, 8, true},
		{0, 1 << 14, 1, false}, {0, 1<<14 - 4, 8, false}, {0, 1<<64 - 4, 8, false}, {1, 60, 8, false},
		{3, 0, 4, false}, {5, 0, 4, false}, {-1, 0, 4, false}, {6, 0, 4, false}, {2, 1 << 33, 1, false},
	}
	for _, test := range tests {
		p := make([]byte, test.n)
		for _, err := range []error{f.ReadBAR(test.bar, test.off, p), f.WriteBAR(test.bar, test.off, p)} {
			if _, is := errors.AsType[*pci.AccessError](err); test.ok != (err == nil) || is == test.ok {
				t.Errorf("BAR %d, %#x+%d: %v", test.bar, test.off, test.n, err)
			}
		}
	}
}

// TestDecoding checks that each kind of BAR answers only while COMMAND says so.
func TestDecoding(t *testing.T) {
	cfg := everything()
	memory, ports := &ram{mem: make([]byte, 1<<14)}, &ram{mem: make([]byte, 64)}
	cfg.BARs[0].Handler, cfg.BARs[1].Handler = memory, ports
	for command, want := range map[uint32][2]bool{0: {}, 1: {false, true}, 2: {true, false}, 3: {true, true}, 4: {}} {
		_, b := start(t, cfg)
		b.SetConfig(pcitest.Command, 2, command)
		for bar, h := range []*ram{memory, ports} {
			h.mem[0] = 1
			b.WriteBAR(bar, 0, 1, 2)
			got := h.mem[0] == 2
			if got != want[bar] {
				t.Errorf("COMMAND %d: a write to BAR %d arrived: %v", command, bar, got)
			}
			v := uint64(0xffff)
			if got {
				v = 2
			}
			if r := b.ReadBAR(bar, 0, 2); r != v {
				t.Errorf("COMMAND %d: BAR %d reads %#x, want %#x", command, bar, r, v)
			}
		}
	}
}

// TestMSIXInBAR checks that the tables of MSI-X hide the handler's bytes, and only
// those, in one long access.
func TestMSIXInBAR(t *testing.T) {
	h := &ram{mem: make([]byte, 4096)}
	for i := range h.mem {
		h.mem[i] = 0xee
	}
	f, b := start(t, pci.Config{
		BARs: [6]pci.BAR{{Size: 4096, Handler: h}},
		MSIX: pci.MSIXConfig{Vectors: 3, Table: 8, PBA: 0x40},
	})
	b.EnableMSIX()
	b.SetConfig(b.Capability(pci.CapMSIX)+2, 2, 0xc000)
	raise(t, f, 1, false)
	p := make([]byte, 80)
	if err := f.ReadBAR(0, 0, p); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{0xee}, 80)
	clear(want[8:56])
	want[8+12], want[24+12], want[40+12] = 1, 1, 1
	clear(want[64:72])
	want[64] = 2
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := f.WriteBAR(0, 0, make([]byte, 80)); err != nil {
		t.Fatal(err)
	}
	wantMem := bytes.Repeat([]byte{0xee}, 80)
	clear(wantMem[:8])
	clear(wantMem[56:64])
	clear(wantMem[72:])
	if diff := cmp.Diff(wantMem, h.mem[:80]); diff != "" {
		t.Errorf("what the handler got (-want +got):\n%s", diff)
	}
}

func TestFileBAR(t *testing.T) {
	file := backing(t, 4096)
	f, b := start(t, pci.Config{BARs: [6]pci.BAR{{Size: 4096, File: file}}})
	b.Write64(0, 1, 0x1122334455667788)
	if v := b.ReadBAR(0, 2, 3); v != 0x556677 {
		t.Errorf("reads %#x", v)
	}
	var p [8]byte
	if _, err := file.ReadAt(p[:], 1); err != nil || p[0] != 0x88 {
		t.Errorf("the file has %x, %v", p, err)
	}
	if got := f.BAR(0).File; got != file {
		t.Errorf("a transport gets %v to map", got)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	b.Write32(0, 0, 1)
	if v := b.Read32(0, 0); v != 0xffffffff {
		t.Errorf("a file that cannot be read reads as %#x", v)
	}
}

func TestNoHandler(t *testing.T) {
	f, b := start(t, everything())
	b.Write32(0, 0, 7)
	p := []byte{1, 2, 3, 4}
	if err := f.ReadBAR(0, 0, p); err != nil || !bytes.Equal(p, make([]byte, 4)) {
		t.Errorf("reads %x, %v", p, err)
	}
}
