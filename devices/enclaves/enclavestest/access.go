package enclavestest

import (
	"encoding/binary"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

// Accesses. A range inside a register BAR is never an error.

func (d *Driver) write(off uint64, p []byte) {
	d.access.Lock()
	defer d.access.Unlock()
	if err := d.f.WriteBAR(enclaves.RegisterBAR, off, p); err != nil {
		panic(err)
	}
}

func (d *Driver) read(off uint64, n int) []byte {
	d.access.Lock()
	defer d.access.Unlock()
	p := make([]byte, n)
	if err := d.f.ReadBAR(enclaves.RegisterBAR, off, p); err != nil {
		panic(err)
	}
	return p
}

func (d *Driver) config16(off int) uint16 {
	d.access.Lock()
	defer d.access.Unlock()
	var p [2]byte
	if err := d.f.ReadConfig(off, p[:]); err != nil {
		panic(err)
	}
	return binary.LittleEndian.Uint16(p[:])
}

func (d *Driver) setConfig16(off int, v uint16) {
	d.access.Lock()
	defer d.access.Unlock()
	if err := d.f.WriteConfig(off, binary.LittleEndian.AppendUint16(nil, v)); err != nil {
		panic(err)
	}
}
