package nsm_test

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
)

// newDevice is a module as it boots, with distinct measurements.
func newDevice(t testing.TB, change ...func(*nsm.Config)) *nsm.Device {
	t.Helper()
	cfg := nsm.Config{
		ModuleID: "i-1234567890abcdef0-enc0199aabbccddeeff",
		Measurements: nsm.Measurements{
			nsm.PCRImage: {1}, nsm.PCRKernel: {2}, nsm.PCRApplication: {3},
			nsm.PCRRole: {4}, nsm.PCRInstance: {5}, nsm.PCRCertificate: {6},
		},
		Attester: nsmtest.Unsigned{},
	}
	for _, c := range change {
		c(&cfg)
	}
	d, err := nsm.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// handle is the device without a queue, as nsmtest wants it.
func handle(d *nsm.Device) nsmtest.Func {
	return func(req []byte) ([]byte, error) { return d.Handle(req), nil }
}

func TestConformance(t *testing.T) {
	for _, debug := range []bool{false, true} {
		t.Run(map[bool]string{false: "production", true: "debug"}[debug], func(t *testing.T) {
			d := newDevice(t, func(c *nsm.Config) { c.DebugMode = debug })
			nsmtest.Run(t, handle(d), nsmtest.Sequence())
			nsmtest.Run(t, handle(d), []nsmtest.Case{nsmtest.Empty()})
		})
	}
}
