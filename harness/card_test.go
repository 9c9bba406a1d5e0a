package harness_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
)

// A reader is a card that reads guest memory at the address it is told: register
// 0 has the bus address, 8 the doorbell (write) and what became of it (read).
type reader struct {
	function *pci.Function

	mu     sync.Mutex
	regs   [16]byte
	status uint32
	read   []byte
	err    error
}

// What the status register of a reader says.
const (
	readerDone   = 1
	readerFailed = 2
)

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{}
	f, err := pci.New(pci.Config{
		VendorID: 0x1234, DeviceID: 0xcafe, Class: 0xff0000, Express: true,
		BARs: [6]pci.BAR{{Size: 4096, Handler: r}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.function = f
	return r
}

func (r *reader) ReadBAR(off uint64, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(p)
	if off == 8 && len(p) == 4 {
		binary.LittleEndian.PutUint32(p, r.status)
	}
}

func (r *reader) WriteBAR(off uint64, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < 8 && off+uint64(len(p)) <= 8 {
		copy(r.regs[off:], p)
	}
	if off != 8 {
		return
	}
	r.read = make([]byte, 16)
	r.status = readerDone
	if r.err = r.function.DMA().Read(binary.LittleEndian.Uint64(r.regs[:]), r.read); r.err != nil {
		r.status = readerFailed
	}
}

// driveReader makes the guest enable the card and ring it for the address. Nobody
// has mapped anything for it.
func driveReader(t testing.TB, i *harness.Instance, address string) string {
	return strings.TrimSpace(i.Exec(t, `set -e
		n=0; until d=$(grep -l 0xcafe /sys/bus/pci/devices/*/device); do n=$((n+1)); [ $n -lt 100 ]; sleep 0.05; done
		d=${d%/device}; echo 1 > $d/enable
		`+"printf '\\006' | dd of=$d/config bs=1 seek=4 conv=notrunc 2>/dev/null"+`
		bar=$(head -1 $d/resource | cut -d' ' -f1)
		addr=`+address+`
		devmem $bar 32 $((addr & 0xffffffff)); devmem $(printf '0x%x' $((bar+4))) 32 $((addr >> 32)); devmem $(printf '0x%x' $((bar+8))) 32 1
		devmem $(printf '0x%x' $((bar+8))) 32`))
}

// A card sees no byte of its instance that the guest has not mapped for it: what is
// behind the IOMMU is out of its reach. Without an IOMMU in the guest the same card
// reads the same memory.
func TestCardBehindIOMMU(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	// The kernel's code: at its place because the image boots with nokaslr.
	const kernelText = "0x1000000"
	for _, tt := range []struct {
		name    string
		options func() []harness.InstanceOption
		want    uint32
	}{
		{"with IOMMU", func() []harness.InstanceOption { return nil }, readerFailed},
		{"without IOMMU", func() []harness.InstanceOption {
			image := *harness.BuildInstance(t, nil)
			image.KernelArgs = strings.ReplaceAll(image.KernelArgs, "intel_iommu=on", "intel_iommu=off")
			return []harness.InstanceOption{harness.InstanceImage(&image), harness.Cold()}
		}, readerDone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			card := newReader(t)
			i := host.Launch(t, append(tt.options(), func(c *emulator.InstanceConfig) error {
				c.Cards = []emulator.Card{{Name: "reader", Function: card.function}}
				return nil
			})...)
			if got, want := driveReader(t, i, kernelText), fmt.Sprintf("0x%08X", tt.want); got != want {
				t.Fatalf("status is %s, want %s (%v)", got, want, card.err)
			}
			var address *guestmem.AddressError
			ram := make([]byte, 16)
			if _, err := i.RAM().ReadAt(ram, 0x1000000); err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.want == readerFailed && !errors.As(card.err, &address):
				t.Errorf("the card was stopped by %v, want an AddressError", card.err)
			case tt.want == readerDone && string(card.read) != string(ram):
				t.Errorf("the card read % x, memory holds % x", card.read, ram)
			}
		})
	}
}
