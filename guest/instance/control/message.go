package control

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Bounds of a seed in bytes. Linux takes its generator for seeded at 256 bits.
const (
	MinSeed = 32
	MaxSeed = 512
)

// MaxCABundle bounds the certificates of a Resume, in bytes of PEM.
const MaxCABundle = 64 << 10

// MaxWants bounds the devices one request may ask for, and MaxDevices those that
// are listed in the answer.
const (
	MaxWants   = 64
	MaxDevices = 256
)

// MaxDevicesTimeout bounds how long the guest waits for devices.
const MaxDevicesTimeout = 10 * time.Minute

// A Resume tells the guest what a clone of a snapshot cannot know.
type Resume struct {
	// Seed is credited to the kernel's random number generator, which is then
	// reseeded: clones of a snapshot have one state. MinSeed to MaxSeed bytes
	// from a cryptographic source, for this instance alone.
	Seed []byte `json:"seed"`
	// Time is the time of day in nanoseconds since the Unix epoch, more than 0.
	Time int64 `json:"time"`
	// CABundle are the certificates that programs of the guest trust, in PEM, at
	// most MaxCABundle bytes. It replaces /etc/ssl/certs/ca-certificates.crt;
	// none leaves what the image has there.
	CABundle []byte `json:"caBundle,omitempty"`

	Identity
}

// An Identity is who an instance is. It becomes /run/nitrolab/instance.json in the
// guest, with what [Ready] adds. Only the first two must be given; others are
// empty where nobody knows.
type Identity struct {
	InstanceID string `json:"instanceId"` // such as "i-0123456789abcdef0"
	Hostname   string `json:"hostname"`   // at most 64 bytes, one or more labels

	Region           string `json:"region,omitempty"`
	AvailabilityZone string `json:"availabilityZone,omitempty"`
	InstanceType     string `json:"instanceType,omitempty"`
	ImageID          string `json:"imageId,omitempty"`
	AccountID        string `json:"accountId,omitempty"`
}

// A Ready is what the guest answers to a [Resume].
type Ready struct {
	BootID    string `json:"bootId"`    // UUID that is new with each resume
	Release   string `json:"release"`   // of the kernel, as uname -r gives it
	UptimeMs  int64  `json:"uptimeMs"`  // since the kernel's start, the snapshot's time included
	CPUs      int    `json:"cpus"`      // that are on-line
	MemoryKiB uint64 `json:"memoryKiB"` // that the kernel manages
}

// A DevicesRequest asks the guest to wait until devices are usable.
type DevicesRequest struct {
	// Want has an entry for each device, see [PCI], [PCIPresent] and [Vsock]. Two
	// equal entries are two devices. None at all asks for the list.
	Want []string `json:"want"`
	// TimeoutMs is how long the guest waits, 0 to MaxDevicesTimeout.
	TimeoutMs int64 `json:"timeoutMs"`
}

// Vsock asks for a virtio vsock device with its address.
const Vsock = "vsock"

// present marks a PCI function that needs no driver.
const present = "present:"

// PCI asks for a PCI function that a driver is bound to.
func PCI(vendor, device uint16) string { return fmt.Sprintf("%04x:%04x", vendor, device) }

// PCIPresent asks for a PCI function, with or without a driver.
func PCIPresent(vendor, device uint16) string { return present + PCI(vendor, device) }

// ParsePCI reads what [PCI] and [PCIPresent] make.
func ParsePCI(want string) (id string, bound, ok bool) {
	id, unbound := strings.CutPrefix(want, present)
	return id, !unbound, isPCIID(id)
}

// A Device is a PCI function of the guest.
type Device struct {
	BDF    string `json:"bdf"`              // such as "0000:01:00.0"
	ID     string `json:"id"`               // vendor and device, such as "1d0f:e4c1"
	Driver string `json:"driver,omitempty"` // empty if none is bound
}

// maxName bounds words and host names: __NEW_UTS_LEN of Linux.
const maxName = 64

// Validate says what a guest would refuse.
func (r *Resume) Validate() error {
	if n := len(r.Seed); n < MinSeed || n > MaxSeed {
		return invalid("seed has %d bytes, allowed are %d to %d", n, MinSeed, MaxSeed)
	}
	if r.Time <= 0 {
		return invalid("time is %d, must be after the Unix epoch", r.Time)
	}
	if err := validateBundle(r.CABundle); err != nil {
		return err
	}
	return r.Identity.Validate()
}

// validateBundle tells certificates from what was meant for another member. It
// does not parse them: that is for the programs which trust them, and would be in
// the way of every warm start.
func validateBundle(pem []byte) error {
	switch {
	case len(pem) == 0:
		return nil
	case len(pem) > MaxCABundle:
		return invalid("caBundle has %d bytes, allowed are 0 to %d", len(pem), MaxCABundle)
	case !bytes.Contains(pem, []byte("-----BEGIN CERTIFICATE-----\n")):
		return invalid("caBundle has no certificate, allowed is PEM")
	case bytes.Contains(pem, []byte("PRIVATE KEY-----")):
		return invalid("caBundle has a private key, allowed are certificates")
	}
	return nil
}

// Validate says what is wrong with an identity. Its values become part of files
// that shell scripts read.
func (i *Identity) Validate() error {
	if !isWord(i.InstanceID) {
		return invalid("instanceId is %q", clip(i.InstanceID))
	}
	if i.Hostname == "" || len(i.Hostname) > maxName {
		return invalid("hostname has %d bytes, allowed are 1 to %d", len(i.Hostname), maxName)
	}
	for l := range strings.SplitSeq(i.Hostname, ".") {
		if !isLabel(l) {
			return invalid("hostname is %q", clip(i.Hostname))
		}
	}
	for _, f := range []struct{ name, value string }{
		{"region", i.Region}, {"availabilityZone", i.AvailabilityZone}, {"instanceType", i.InstanceType},
		{"imageId", i.ImageID}, {"accountId", i.AccountID},
	} {
		if f.value != "" && !isWord(f.value) {
			return invalid("%s is %q", f.name, clip(f.value))
		}
	}
	return nil
}

// Validate says what a guest would refuse.
func (d *DevicesRequest) Validate() error {
	if len(d.Want) > MaxWants {
		return invalid("%d devices are wanted, allowed are %d", len(d.Want), MaxWants)
	}
	for _, w := range d.Want {
		if _, _, ok := ParsePCI(w); !ok && w != Vsock {
			return invalid("device %q is neither a PCI id nor %q", clip(w), Vsock)
		}
	}
	if d.TimeoutMs < 0 || d.TimeoutMs > MaxDevicesTimeout.Milliseconds() {
		return invalid("timeout is %d ms, allowed are 0 to %d", d.TimeoutMs, MaxDevicesTimeout.Milliseconds())
	}
	return nil
}

// validate says why an answer is none that this protocol's guest gives. The Host
// prints what is in it.
func (r *Ready) validate() error {
	switch {
	case !isUUID(r.BootID):
		return invalid("bootId is %q", clip(r.BootID))
	case !isWord(r.Release):
		return invalid("release is %q", clip(r.Release))
	case r.UptimeMs < 0 || r.CPUs < 1:
		return invalid("uptime is %d ms with %d CPUs", r.UptimeMs, r.CPUs)
	}
	return nil
}

func validateDevices(list []Device) error {
	if len(list) > MaxDevices {
		return invalid("%d devices, allowed are %d", len(list), MaxDevices)
	}
	for _, d := range list {
		if !isBDF(d.BDF) || !isPCIID(d.ID) || d.Driver != "" && !isWord(d.Driver) {
			return invalid("device %q is %q with driver %q", clip(d.BDF), clip(d.ID), clip(d.Driver))
		}
	}
	return nil
}
