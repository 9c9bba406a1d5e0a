package pci_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/pci"
)

// A found is one capability as a reader of the lists sees it.
type found struct {
	ID      uint16
	Offset  int
	Version uint8 // of extended ones
}

// walkStandard follows the list at 0x34 in raw bytes. It knows nothing of this package.
func walkStandard(t testing.TB, c []byte) (list []found) {
	t.Helper()
	if c[6]&0x10 == 0 {
		return nil
	}
	for at := int(c[0x34]); at != 0; at = int(c[at+1]) {
		if at < 0x40 || at > 0xfc || at%4 != 0 || len(list) > 48 {
			t.Fatalf("capability %d is at %#x", len(list), at)
		}
		list = append(list, found{ID: uint16(c[at]), Offset: at})
	}
	return list
}

// walkExtended follows the list at 0x100 in raw bytes.
func walkExtended(t testing.TB, c []byte) (list []found) {
	t.Helper()
	if len(c) <= 0x100 || binary.LittleEndian.Uint32(c[0x100:]) == 0 {
		return nil
	}
	for at := 0x100; at != 0; {
		if at < 0x100 || at > 0xffc || at%4 != 0 || len(list) > 960 {
			t.Fatalf("extended capability %d is at %#x", len(list), at)
		}
		h := binary.LittleEndian.Uint32(c[at:])
		list = append(list, found{ID: uint16(h), Offset: at, Version: uint8(h >> 16 & 15)})
		at = int(h >> 20)
	}
	return list
}

func TestCapabilityLists(t *testing.T) {
	c := readAll(t, newFunction(t, everything()))
	if len(c) != 4096 {
		t.Fatalf("configuration space of %d bytes, want 4096", len(c))
	}
	want := []found{
		{ID: pci.CapPowerManagement, Offset: 0x40},
		{ID: pci.CapExpress, Offset: 0x48},
		{ID: pci.CapMSI, Offset: 0x84},
		{ID: pci.CapMSIX, Offset: 0x9c},
		{ID: pci.CapVendor, Offset: 0xa8},
		{ID: 0x0d, Offset: 0xf0},
	}
	if diff := cmp.Diff(want, walkStandard(t, c)); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
	want = []found{
		{ID: pci.ExtSerialNumber, Offset: 0x100, Version: 1},
		{ID: pci.ExtDVSEC, Offset: 0x10c, Version: 1},
		{ID: 0x1b, Offset: 0x11c, Version: 2},
		{ID: pci.ExtDOE, Offset: 0x150, Version: 1},
	}
	if diff := cmp.Diff(want, walkExtended(t, c)); diff != "" {
		t.Errorf("extended capabilities (-want +got):\n%s", diff)
	}
}

// TestConfigBytes compares configuration spaces with files in testdata that were
// written once and read by lspci, which is nobody's code of this project.
func TestConfigBytes(t *testing.T) {
	small := pci.Config{VendorID: 0x1d0f, DeviceID: 0xe4c1, Class: 0x088000}
	small.BARs[0] = pci.BAR{Size: 4096}
	small.BARs[3] = pci.BAR{Size: 4096}
	small.MSIX = pci.MSIXConfig{Vectors: 2, PBA: 0x800}
	tests := []struct {
		name string
		cfg  pci.Config
	}{
		{"everything", everything()},
		{"conventional", small},
		{"bare", pci.Config{VendorID: 0x1d0f, DeviceID: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := lspciHex(readAll(t, newFunction(t, test.cfg)))
			want, err := os.ReadFile(filepath.Join("testdata", test.name+".hex"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("configuration space (-want +got):\n%s", diff)
			}
		})
	}
}

// lspciHex prints c in the form of lspci -xxxx, which lspci -F reads. Lines of
// zeros in extended space are left out.
func lspciHex(c []byte) string {
	var b strings.Builder
	b.WriteString("00:02.0 function under test\n")
	const digits = "0123456789abcdef"
	for at := 0; at < len(c); at += 16 {
		line := c[at : at+16]
		if at >= 0x100 && strings.Trim(string(line), "\x00") == "" {
			continue
		}
		b.WriteString(strings.TrimLeft(string([]byte{digits[at>>8], digits[at>>4&15], '0'}), "0"))
		if at == 0 {
			b.WriteString("00")
		}
		b.WriteString(":")
		for _, v := range line {
			b.WriteString(string([]byte{' ', digits[v>>4], digits[v&15]}))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestCapabilityErrors(t *testing.T) {
	base := func() pci.Config {
		return pci.Config{Express: true, BARs: [6]pci.BAR{{Size: 1 << 16}, {Size: 256, IO: true}}}
	}
	raw := func(c ...pci.Capability) func(*pci.Config) { return func(cfg *pci.Config) { cfg.Capabilities = c } }
	ext := func(c ...pci.ExtendedCapability) func(*pci.Config) {
		return func(cfg *pci.Config) { cfg.Extended = c }
	}
	msix := func(c pci.MSIXConfig) func(*pci.Config) { return func(cfg *pci.Config) { cfg.MSIX = c } }
	handle := func(x *pci.Exchange) { x.Discard() }
	tests := []struct {
		name   string
		change func(*pci.Config)
		field  string
	}{
		{"class of 25 bits", func(c *pci.Config) { c.Class = 1 << 24 }, "Class"},
		{"extended without Express", func(c *pci.Config) { c.Express = false; c.Extended = []pci.ExtendedCapability{pci.SerialNumber(1)} }, "Extended"},
		{"speed", func(c *pci.Config) { c.Link.Speed = 7 }, "Link.Speed"},
		{"width", func(c *pci.Config) { c.Link.Width = 3 }, "Link.Width"},
		{"MSI vectors", func(c *pci.Config) { c.MSI.Vectors = 3 }, "MSI.Vectors"},
		{"MSI vectors, too many", func(c *pci.Config) { c.MSI.Vectors = 64 }, "MSI.Vectors"},
		{"MSI masking without vectors", func(c *pci.Config) { c.MSI.Masking = true }, "MSI.Vectors"},
		{"MSI-X vectors", msix(pci.MSIXConfig{Vectors: 2049, PBA: 0x9000}), "MSIX.Vectors"},
		{"MSI-X negative", msix(pci.MSIXConfig{Vectors: -1}), "MSIX.Vectors"},
		{"MSI-X without vectors", msix(pci.MSIXConfig{PBA: 8}), "MSIX.Vectors"},
		{"MSI-X in a BAR that is not there", msix(pci.MSIXConfig{Vectors: 1, BAR: 2, PBA: 16}), "MSIX.BAR"},
		{"MSI-X in BAR 6", msix(pci.MSIXConfig{Vectors: 1, BAR: 6, PBA: 16}), "MSIX.BAR"},
		{"MSI-X in BAR -1", msix(pci.MSIXConfig{Vectors: 1, BAR: -1, PBA: 16}), "MSIX.BAR"},
		{"MSI-X in I/O ports", msix(pci.MSIXConfig{Vectors: 1, BAR: 1, PBA: 16}), "MSIX.BAR"},
		{"table not aligned", msix(pci.MSIXConfig{Vectors: 1, Table: 4, PBA: 32}), "MSIX.Table"},
		{"table leaves the BAR", msix(pci.MSIXConfig{Vectors: 2, Table: 0xfff0}), "MSIX.Table"},
		{"table far outside", msix(pci.MSIXConfig{Vectors: 2, Table: 0xfffffff8}), "MSIX.Table"},
		{"PBA leaves the BAR", msix(pci.MSIXConfig{Vectors: 65, PBA: 0xfff8}), "MSIX.PBA"},
		{"PBA not aligned", msix(pci.MSIXConfig{Vectors: 1, PBA: 20}), "MSIX.PBA"},
		{"PBA in the table", msix(pci.MSIXConfig{Vectors: 3, PBA: 40}), "MSIX.PBA"},
		{"table in the PBA", msix(pci.MSIXConfig{Vectors: 65, Table: 8, PBA: 0}), "MSIX.PBA"},
		{"raw ID 0", raw(pci.Capability{}), "Capabilities[0].ID"},
		{"raw MSI-X", raw(pci.Capability{ID: pci.CapMSIX}), "Capabilities[0].ID"},
		{"mask longer than data", raw(pci.Capability{ID: 9, Data: []byte{1}, Writable: []byte{1, 1}}), "Capabilities[0].Writable"},
		{"in the header", raw(pci.Capability{ID: 9, Offset: 0x3c}), "Capabilities[0]"},
		{"not aligned", raw(pci.Capability{ID: 9, Offset: 0x82}), "Capabilities[0]"},
		{"two in one place", raw(pci.Capability{ID: 9, Offset: 0x80, Data: make([]byte, 8)}, pci.Capability{ID: 9, Offset: 0x84}), "Capabilities[1]"},
		{"leaves the space", raw(pci.Capability{ID: 9, Offset: 0xf8, Data: make([]byte, 10)}), "Capabilities[0]"},
		{"too long", raw(pci.VendorCapability(make([]byte, 300))), "Capabilities[0]"},
		{"too many", raw(pci.VendorCapability(make([]byte, 100)), pci.VendorCapability(make([]byte, 100))), "Capabilities[1]"},
		{"nil", ext(nil), "Extended[0]"},
		{"DVSEC revision", ext(pci.DVSEC{Revision: 16}), "Extended[0].Revision"},
		{"DVSEC mask", ext(pci.DVSEC{Writable: []byte{1}}), "Extended[0].Writable"},
		{"DVSEC too long", ext(pci.DVSEC{Data: make([]byte, 4000)}), "Extended[0]"},
		{"raw version", ext(pci.RawExtended{ID: 1, Version: 16}), "Extended[0].Version"},
		{"raw length", ext(pci.RawExtended{ID: 1, Data: make([]byte, 5)}), "Extended[0].Data"},
		{"raw mask", ext(pci.RawExtended{ID: 1, Writable: []byte{1}}), "Extended[0].Writable"},
		{"registers and mask", ext(pci.RawExtended{ID: 1, Data: make([]byte, 4), Writable: []byte{1}, Registers: words{}}), "Extended[0].Writable"},
		{"nothing at 0x100", ext(pci.DVSEC{Offset: 0x200}), "Extended[0]"},
		{"below 0x100", ext(pci.DVSEC{Offset: 0xc0}), "Extended[0]"},
		{"DOE object size", ext(&pci.DOE{MaxObject: 1<<20 + 4}), "Extended[0].MaxObject"},
		{"DOE object size not in words", ext(&pci.DOE{MaxObject: 30}), "Extended[0].MaxObject"},
		{"DOE object size too small", ext(&pci.DOE{MaxObject: 8}), "Extended[0].MaxObject"},
		{"DOE vector without messages", ext(&pci.DOE{Interrupt: true}), "Extended[0].Vector"},
		{"DOE without handler", ext(&pci.DOE{Protocols: []pci.DOEProtocol{{Vendor: 1, Type: 1}}}), "Extended[0].Protocols[0].Handle"},
		{"DOE discovery twice", ext(&pci.DOE{Protocols: []pci.DOEProtocol{{Vendor: 1, Handle: handle}}}), "Extended[0].Protocols[0]"},
		{"DOE protocol twice", ext(&pci.DOE{Protocols: []pci.DOEProtocol{echo(1), echo(1)}}), "Extended[0].Protocols[1]"},
		{"DOE with too many", ext(&pci.DOE{Protocols: make([]pci.DOEProtocol, 256)}), "Extended[0].Protocols"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := base()
			test.change(&cfg)
			_, err := pci.New(cfg)
			bad, ok := errors.AsType[*pci.ConfigError](err)
			if !ok || bad.Field != test.field {
				t.Fatalf("error %v, want one of %s", err, test.field)
			}
			if text := err.Error(); text == "" || !strings.Contains(text, test.field) {
				t.Errorf("text %q does not name the field", text)
			}
		})
	}
	if _, err := pci.New(base()); err != nil {
		t.Errorf("the configuration all tests change: %v", err)
	}
}

// words are Registers that ignore everything.
type words struct{}

func (words) Load(int) uint32           { return 0 }
func (words) Store(int, uint32, uint32) {}
