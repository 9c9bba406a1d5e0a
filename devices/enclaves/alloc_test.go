package enclaves_test

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

// The parent polls and copies registers; that must cost us no memory.
func TestRegistersDoNotAllocate(t *testing.T) {
	r, p := newBus(t, nil)
	b := bar{p}
	b.on()
	p.Quiet()
	h := r.dev.RegisterHandler()
	buf := make([]byte, 8)
	command := []byte{byte(enclaves.SlotCount), 0, 0, 0}
	for name, f := range map[string]func(){
		"read":    func() { h.ReadBAR(enclaves.RegReceive, buf) },
		"enable":  func() { h.ReadBAR(enclaves.RegEnable, buf[:1]) },
		"send":    func() { h.WriteBAR(enclaves.RegSend, buf) },
		"command": func() { h.WriteBAR(enclaves.RegCommand, command) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
