package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	kvmDevice = "/dev/kvm"

	// probeTimeout is how long the probe guest may take to its first line. On
	// the one bad KVM we could try, QEMU gave up after 2 to 4 s on microvm (8.5 s
	// on q35): so long does it emulate until it meets an instruction that it
	// does not know. A good KVM needs a fraction of a second by what others
	// publish; we had none to measure.
	probeTimeout = 10 * time.Second

	// proof is what a Linux prints first, in 64-bit mode and past the
	// decompressor, which is where a bad KVM fails.
	proof = "Linux version"
)

// A ProbeConfig says how to find out about KVM. Binary and Kernel are required,
// except for ChooseTCG and ChooseKVM.
type ProbeConfig struct {
	Choice Choice // empty means ChooseAuto

	Binary []string // QEMU, as in Config
	Env    []string // as in Config
	Kernel string   // path of a bzImage

	// CacheDir remembers the verdict until the host reboots. Empty means to
	// probe every time.
	CacheDir string

	Log *slog.Logger // nil means no log

	device string             // instead of kvmDevice
	usable func(string) error // instead of usableKVM
}

// ProbeAccel chooses the accelerator. KVM is chosen only if a guest really runs
// under it: that /dev/kvm opens, that QEMU starts and that its monitor calls KVM
// enabled proves nothing, because a nested or para-virtual KVM may do all that
// and then not execute a stock kernel.
//
// A KVM that does not work is no error: the result is TCG, with the reason. An
// error is a caller's mistake or the end of ctx.
func ProbeAccel(ctx context.Context, cfg ProbeConfig) (Accel, error) {
	if _, err := timeoutScale(); err != nil {
		return Accel{}, err
	}
	choice, err := ParseChoice(string(cfg.Choice))
	if err != nil {
		return Accel{}, err
	}
	switch choice {
	case ChooseKVM:
		return Accel{Name: KVM}, nil
	case ChooseTCG:
		return Accel{Name: TCG, Reason: "as chosen"}, nil
	}
	if cfg.device == "" {
		cfg.device = kvmDevice
	}
	if cfg.usable == nil {
		cfg.usable = usableKVM
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// Never cached: a person may just have got the permission.
	if err := cfg.usable(cfg.device); err != nil {
		return Accel{Name: TCG, Reason: "KVM: " + err.Error()}, nil
	}
	v, err := cfg.verdict(ctx)
	if err != nil {
		return Accel{}, err
	}
	if v.Runs {
		return Accel{Name: KVM}, nil
	}
	return Accel{
		Name:   TCG,
		Reason: fmt.Sprintf("KVM: %s opens, but a probe guest did not run: %s", cfg.device, v.Reason),
	}, nil
}

// kvmGetAPIVersion is KVM_GET_API_VERSION, _IO(0xAE, 0) (linux/kvm.h). Its answer
// is 12 and has been since 2007.
const (
	kvmGetAPIVersion = 0xAE00
	kvmAPIVersion    = 12
)

// usableKVM opens the device the way QEMU does.
func usableKVM(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no %s", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to open %s", path)
	case err != nil:
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	version, err := unix.IoctlRetInt(fd, kvmGetAPIVersion)
	if err != nil || version != kvmAPIVersion {
		return fmt.Errorf("%s is no KVM of API version %d", path, kvmAPIVersion)
	}
	return nil
}

// A verdict is what a probe found.
type verdict struct {
	Runs   bool   `json:"runs"`
	Reason string `json:"reason,omitempty"` // why not

	// slow verdicts are doubtful: the host may have been busy.
	slow bool
}

// probe runs the guest. An error is ctx's or a mistake in cfg.
func (cfg *ProbeConfig) probe(ctx context.Context) (verdict, error) {
	accel := Accel{Name: KVM}
	timeout := accel.Timeout(probeTimeout)
	guestCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	p, err := Start(guestCtx, Config{
		Binary: cfg.Binary,
		Env:    cfg.Env,
		Accel:  accel,
		Name:   "nitrolab-kvm-probe",
		Log:    cfg.Log,
		Devices: []Device{
			Microvm{},
			accel,
			CPU{Model: accel.CPUModel(), Count: 1},
			Memory{MiB: 256},
			I8042{},
			Kernel{Image: cfg.Kernel, Append: "console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=k"},
		},
	})
	if err != nil {
		var infra *InfraError
		if ctx.Err() != nil || !errors.As(err, &infra) {
			return verdict{}, err
		}
		v := verdict{Reason: lastLine(infra.Stderr), slow: errors.Is(err, context.DeadlineExceeded)}
		if v.Reason == "" {
			v.Reason = infra.Error()
		}
		return v, nil
	}
	defer p.Close()
	err = p.Console().WaitFor(guestCtx, proof)
	cfg.Log.Debug("KVM probe", "result", err, "after", time.Since(began))
	switch {
	case err == nil:
		return verdict{Runs: true}, nil
	case ctx.Err() != nil:
		return verdict{}, ctx.Err()
	case errors.Is(err, ErrConsoleEnded):
		return verdict{Reason: p.Wait().probeReason(p.Stderr())}, nil
	default:
		return verdict{Reason: fmt.Sprintf("it printed no kernel message in %v", timeout), slow: true}, nil
	}
}

// probeReason is short: it becomes part of a line.
func (e *Exit) probeReason(stderr []byte) string {
	switch {
	case errors.Is(e, ErrInternal):
		return e.Reason
	case errors.Is(e, ErrCrashed):
		if line := lastLine(stderr); line != "" {
			return line
		}
	}
	return e.Error()
}
