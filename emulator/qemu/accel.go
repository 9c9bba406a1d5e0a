package qemu

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Names of accelerators.
const (
	KVM = "kvm"
	TCG = "tcg"
)

// scaleEnv multiplies all deadlines, for hosts that are slower than we thought.
const scaleEnv = "NITROLAB_TIMEOUT_SCALE"

// tcgScale is how much longer things may take under TCG. It is a judgement, not a
// measurement: a boot to /init takes 3 to 6 s under TCG and is published as 0.2 s
// for KVM, but most of what has a deadline is not the processor's work.
const tcgScale = 4

// An Accel is how the guest's instructions are executed. It is a [Device]. The
// zero value is TCG.
type Accel struct {
	Name string // KVM or TCG

	// Reason says, for TCG, why it is not KVM; empty if nobody asked.
	Reason string
}

func (a Accel) Args() []string     { return []string{"-accel", a.name()} }
func (Accel) KernelArgs() []string { return nil }

func (a Accel) name() string {
	if a.Name == "" {
		return TCG
	}
	return a.Name
}

// TCG reports whether instructions are translated rather than executed.
func (a Accel) TCG() bool { return a.name() == TCG }

// Validate implements [Validator].
func (a Accel) Validate() error {
	if n := a.name(); n != KVM && n != TCG {
		return fmt.Errorf("Accel.Name is %q, must be %s or %s", n, KVM, TCG)
	}
	return nil
}

// CPUModel is the processor to give a guest: the host's own, or the most that
// TCG can do.
func (a Accel) CPUModel() string {
	if a.name() == KVM {
		return "host"
	}
	return "max"
}

// String is for people: "KVM", or "TCG (KVM: no /dev/kvm)".
func (a Accel) String() string {
	if a.name() == KVM {
		return "KVM"
	}
	if a.Reason == "" {
		return "TCG"
	}
	return "TCG (" + a.Reason + ")"
}

// Scale is the factor for deadlines: 1 for KVM, 4 for TCG, times
// NITROLAB_TIMEOUT_SCALE. A value of that variable that makes no sense counts as
// 1 here and is an error of ProbeAccel.
func (a Accel) Scale() float64 {
	scale, err := timeoutScale()
	if err != nil {
		scale = 1
	}
	if a.name() != KVM {
		scale *= tcgScale
	}
	return scale
}

// Timeout scales a deadline that is right for KVM on a quiet host.
func (a Accel) Timeout(base time.Duration) time.Duration {
	return time.Duration(float64(base) * a.Scale())
}

// maxScale keeps a deadline of an hour within a time.Duration.
const maxScale = 1000

func timeoutScale() (float64, error) {
	v := os.Getenv(scaleEnv)
	if v == "" {
		return 1, nil
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f > 0 && f <= maxScale) {
		return 0, fmt.Errorf("qemu: %s is %q, must be a number over 0, at most %d", scaleEnv, v, maxScale)
	}
	return f, nil
}

// A Choice is what a person wants for an accelerator.
type Choice string

// The choices.
const (
	ChooseAuto Choice = "auto" // KVM if a probe guest runs
	ChooseKVM  Choice = "kvm"  // KVM without a probe, and no way back
	ChooseTCG  Choice = "tcg"
)

// ParseChoice reads what a flag or variable holds; empty means auto.
func ParseChoice(s string) (Choice, error) {
	switch c := Choice(s); c {
	case "":
		return ChooseAuto, nil
	case ChooseAuto, ChooseKVM, ChooseTCG:
		return c, nil
	}
	return "", fmt.Errorf("qemu: accelerator %q, must be auto, kvm or tcg", s)
}
