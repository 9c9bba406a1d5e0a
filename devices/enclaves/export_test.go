package enclaves

import "github.com/nitrolab/nitrolab/devices/pci"

// RegisterHandler is the handler of RegisterBAR without the function around it.
func (d *Device) RegisterHandler() pci.Handler { return (*registerBAR)(d) }
