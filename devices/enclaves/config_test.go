package enclaves_test

import (
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		field string
		edit  func(*enclaves.Config)
	}{
		{"Hypervisor", func(c *enclaves.Config) { c.Hypervisor = nil }},
		{"CPUs", func(c *enclaves.Config) { c.CPUs = 0 }},
		{"CPUs", func(c *enclaves.Config) { c.CPUs = 4097 }},
		{"ThreadsPerCore", func(c *enclaves.Config) { c.ThreadsPerCore = -1 }},
		{"ThreadsPerCore", func(c *enclaves.Config) { c.ThreadsPerCore = 5 }},
		{"MaxSlots", func(c *enclaves.Config) { c.MaxSlots = -1 }},
		{"MaxSlots", func(c *enclaves.Config) { c.MaxSlots = 65 }},
		{"MaxRegions", func(c *enclaves.Config) { c.MaxRegions = -1 }},
		{"MaxRegions", func(c *enclaves.Config) { c.MaxRegions = 65537 }},
		{"LaunchTimeout", func(c *enclaves.Config) { c.LaunchTimeout = -1 }},
		{"Faults", func(c *enclaves.Config) { c.Faults.Replies = []enclaves.ReplyFault{{Delay: -1}} }},
	} {
		c := enclaves.Config{Hypervisor: enclavestest.NewHypervisor(), CPUs: 4}
		tt.edit(&c)
		if _, err := enclaves.New(c); err == nil || !strings.Contains(err.Error(), "config "+tt.field+":") {
			t.Errorf("%s: %v", tt.field, err)
		}
	}
}

func TestForceBusMaster(t *testing.T) {
	for _, force := range []bool{false, true} {
		r := newRig(t, func(c *enclaves.Config) { c.ForceBusMaster = force })
		b := pcitest.New(t, r.dev.Function())
		if got := b.Config(pcitest.Command, 2)&4 != 0; got != force {
			t.Errorf("forced %v: bus master reads %v", force, got)
		}
	}
}
