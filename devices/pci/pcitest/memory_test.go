package pcitest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

func TestMemory(t *testing.T) {
	var m pcitest.Memory
	a, b, c := []byte("aaaa"), []byte("bbbb"), []byte("cccc")
	m.Map(0x104, b)
	m.Map(0x100, a)
	m.MapAs(0x108, c, true, false)
	m.MapAs(1<<64-4, make([]byte, 4), false, true)
	tests := []struct {
		name  string
		iova  uint64
		n     int
		write bool
		want  [][]byte // nil: refused
	}{
		{"one", 0x101, 2, false, [][]byte{[]byte("aa")}},
		{"across", 0x102, 8, false, [][]byte{[]byte("aa"), []byte("bbbb"), []byte("cc")}},
		{"write across", 0x102, 6, true, [][]byte{[]byte("aa"), []byte("bbbb")}},
		{"nothing", 0x5, 0, false, [][]byte{}},
		{"write to read-only", 0x106, 4, true, nil},
		{"beyond", 0x106, 8, false, nil},
		{"before", 0xff, 2, false, nil},
		{"read of write-only", 1<<64 - 4, 4, false, nil},
		{"write at the end of all", 1<<64 - 4, 4, true, [][]byte{{0, 0, 0, 0}}},
		{"wraps around", 1<<64 - 4, 5, true, nil},
		{"negative", 0x100, -1, false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := [][]byte{}
			err := m.View(test.iova, test.n, test.write, func(s [][]byte) error {
				got = append(got, s...)
				return nil
			})
			if bad, is := errors.AsType[*guestmem.AddressError](err); test.want == nil {
				if !is || bad.Addr != test.iova || bad.Len != test.n {
					t.Errorf("error %v", err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	if err := m.Write(0x102, []byte("12345")); err != nil || string(a)+string(b) != "aa12345b" {
		t.Errorf("after a write: %s%s, %v", a, b, err)
	}
	p := make([]byte, 4)
	if err := m.Read(0x103, p); err != nil || string(p) != "2345" {
		t.Errorf("read %s, %v", p, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("an overlapping Map did not panic")
		}
	}()
	m.Map(0x10b, c)
}

// TestUnmapWaits checks that nobody uses a mapping that Unmap has removed.
func TestUnmapWaits(t *testing.T) {
	var m pcitest.Memory
	m.Map(0, make([]byte, 8))
	inside, leave, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		_ = m.View(0, 8, true, func([][]byte) error {
			close(inside)
			<-leave
			return m.Read(0, make([]byte, 0)) // nested use does not deadlock
		})
	}()
	<-inside
	go func() { m.Unmap(0); close(gone) }()
	for m.Read(0, make([]byte, 1)) == nil {
		// until Unmap has begun
	}
	select {
	case <-gone:
		t.Error("Unmap returned while View ran")
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	<-gone
}

// fake is a testing.TB that remembers its failure instead of ending the test.
type fake struct {
	testing.TB
	failed bool
}

func (f *fake) Helper() {}
func (f *fake) Fatalf(string, ...any) {
	f.failed = true
	panic(f)
}

// TestFails checks that the helpers fail a test that breaks the rules.
func TestFails(t *testing.T) {
	f, err := pci.New(pci.Config{BARs: [6]pci.BAR{{Size: 4096}}})
	if err != nil {
		t.Fatal(err)
	}
	fake := &fake{TB: t}
	b := pcitest.New(fake, f)
	for name, call := range map[string]func(){
		"attached twice":        func() { pcitest.New(fake, f) },
		"config beyond the end": func() { b.Config(255, 2) },
		"config write":          func() { b.SetConfig(255, 2, 0) },
		"BAR beyond the end":    func() { b.Read64(0, 4092) },
		"BAR write":             func() { b.Write32(1, 0, 0) },
		"no MSI-X":              func() { b.EnableMSIX() },
		"no MSI":                func() { b.EnableMSI(0) },
		"no FLR":                func() { b.FLR() },
		"no D3hot":              func() { b.Sleep(true) },
		"no mailbox":            func() { b.DOE(b.Extended(pci.ExtDOE)) },
	} {
		fake.failed = false
		func() {
			defer func() { _ = recover() }()
			call()
		}()
		if !fake.failed {
			t.Errorf("%s: the test did not fail", name)
		}
	}
}
