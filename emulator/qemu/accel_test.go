package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAccel(t *testing.T) {
	tests := []struct {
		accel Accel
		model string
		text  string
		tcg   bool
	}{
		{Accel{}, "max", "TCG", true},
		{Accel{Name: TCG, Reason: "KVM: no /dev/kvm"}, "max", "TCG (KVM: no /dev/kvm)", true},
		{Accel{Name: KVM}, "host", "KVM", false},
	}
	for _, tt := range tests {
		if tt.accel.CPUModel() != tt.model || tt.accel.String() != tt.text || tt.accel.TCG() != tt.tcg {
			t.Errorf("%+v: %s, %s, %v; want %s, %s, %v", tt.accel, tt.accel.CPUModel(), tt.accel, tt.accel.TCG(), tt.model, tt.text, tt.tcg)
		}
	}
}

func TestTimeout(t *testing.T) {
	tests := []struct {
		env      string
		kvm, tcg time.Duration // of 10 s
		bad      bool
	}{
		{"", 10 * time.Second, 40 * time.Second, false},
		{"2.5", 25 * time.Second, 100 * time.Second, false},
		{"0.1", time.Second, 4 * time.Second, false},
		{"0", 10 * time.Second, 40 * time.Second, true},
		{"-1", 10 * time.Second, 40 * time.Second, true},
		{"NaN", 10 * time.Second, 40 * time.Second, true},
		{"Inf", 10 * time.Second, 40 * time.Second, true},
		{"many", 10 * time.Second, 40 * time.Second, true},
	}
	for _, tt := range tests {
		t.Run(tt.env, func(t *testing.T) {
			t.Setenv(scaleEnv, tt.env)
			if got := (Accel{Name: KVM}).Timeout(10 * time.Second); got != tt.kvm {
				t.Errorf("KVM: %v, want %v", got, tt.kvm)
			}
			if got := (Accel{}).Timeout(10 * time.Second); got != tt.tcg {
				t.Errorf("TCG: %v, want %v", got, tt.tcg)
			}
			_, err := ProbeAccel(context.Background(), ProbeConfig{Choice: ChooseTCG})
			if (err != nil) != tt.bad {
				t.Errorf("ProbeAccel() = %v, want an error: %v", err, tt.bad)
			}
		})
	}
}

func TestChoice(t *testing.T) {
	for _, s := range []string{"KVM", "hvf", " "} {
		if c, err := ParseChoice(s); err == nil {
			t.Errorf("ParseChoice(%q) = %q", s, c)
		}
		if _, err := ProbeAccel(context.Background(), ProbeConfig{Choice: Choice(s)}); err == nil {
			t.Errorf("ProbeAccel took the choice %q", s)
		}
	}
	for c, want := range map[Choice]string{ChooseKVM: "KVM", ChooseTCG: "TCG (as chosen)"} {
		a, err := ProbeAccel(context.Background(), ProbeConfig{Choice: c})
		if err != nil || a.String() != want {
			t.Errorf("ProbeAccel(%s) = %v, %v; want %s", c, a, err, want)
		}
	}
}

func TestUsableKVM(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no " + filepath.Join(dir, "none"),
		file:                       file + " is no KVM of API version 12",
		dir:                        "open " + dir + ": is a directory",
	} {
		if err := usableKVM(path); err == nil || err.Error() != want {
			t.Errorf("usableKVM(%s) = %v, want %s", path, err, want)
		}
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		if err := usableKVM(file); err == nil || err.Error() != "no permission to open "+file {
			t.Errorf("usableKVM() without permission = %v", err)
		}
	}
}

// fakeProbe is a host whose KVM does what the fake QEMU plays.
func fakeProbe(t *testing.T, plot string) ProbeConfig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return ProbeConfig{
		Binary: []string{self},
		Env:    []string{fakeEnv + "=" + plot},
		Kernel: tempFile(t, "vmlinuz"),
		device: "/dev/kvm",
		usable: func(string) error { return nil },
	}
}

func TestProbe(t *testing.T) {
	const but = "TCG (KVM: /dev/kvm opens, but a probe guest did not run: "
	tests := []struct{ plot, want string }{
		{"run", "KVM"},
		{"internal", but + "internal-error)"},
		{"crash", but + "qemu: hw/core: Assertion `x' failed.)"},
		{"bad-arguments", but + "qemu: -device nonsense: 'nonsense' is not a valid device model name)"},
		{"reset", but + "the guest reset the machine (guest-reset))"},
		{"panic", but + "the guest panicked: [ 1.0] Kernel panic - not syncing: No working init found)"},
	}
	for _, tt := range tests {
		t.Run(tt.plot, func(t *testing.T) {
			a, err := ProbeAccel(within(t), fakeProbe(t, tt.plot))
			if err != nil || a.String() != tt.want {
				t.Errorf("ProbeAccel() = %v, %v; want %s", a, err, tt.want)
			}
		})
	}
}

func TestProbeDeadline(t *testing.T) {
	t.Setenv(scaleEnv, "0.1")
	cfg := fakeProbe(t, "silent")
	cfg.CacheDir = t.TempDir()
	a, err := ProbeAccel(within(t), cfg)
	if want := "no kernel message in 1s"; err != nil || !a.TCG() || !strings.Contains(a.Reason, want) {
		t.Fatalf("ProbeAccel() = %v, %v; want %q", a, err, want)
	}
	// A host that was busy once is not slow until it reboots.
	names, _ := filepath.Glob(filepath.Join(cfg.CacheDir, "*.json"))
	if len(names) != 1 {
		t.Fatalf("cache holds %q", names)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var c cachedVerdict
	if err := json.Unmarshal(b, &c); err != nil || c.Expires == nil || time.Until(*c.Expires) > slowVerdictTTL {
		t.Errorf("cached %s, %v; want it to expire", b, err)
	}
}

func TestProbeMistakes(t *testing.T) {
	for name, edit := range map[string]func(*ProbeConfig){
		"no binary":      func(c *ProbeConfig) { c.Binary = nil },
		"binary missing": func(c *ProbeConfig) { c.Binary = []string{"no-such-qemu"} },
		"kernel missing": func(c *ProbeConfig) { c.Kernel = "/none" },
	} {
		for _, cache := range []string{"", t.TempDir()} {
			cfg := fakeProbe(t, "run")
			cfg.CacheDir = cache
			edit(&cfg)
			if a, err := ProbeAccel(within(t), cfg); err == nil {
				t.Errorf("%s: ProbeAccel() = %v, want an error", name, a)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if a, err := ProbeAccel(ctx, fakeProbe(t, "run")); !errors.Is(err, context.Canceled) {
		t.Errorf("ProbeAccel() = %v, %v; want %v", a, err, context.Canceled)
	}
}

func TestProbeUnusableDevice(t *testing.T) {
	cfg := fakeProbe(t, "run")
	cfg.usable = func(string) error { return errors.New("no /dev/kvm") }
	a, err := ProbeAccel(within(t), cfg)
	if err != nil || a.String() != "TCG (KVM: no /dev/kvm)" {
		t.Errorf("ProbeAccel() = %v, %v", a, err)
	}
}

// TestVerdictIsCached: the second time nothing is started, until something that
// matters changes.
func TestVerdictIsCached(t *testing.T) {
	cfg := fakeProbe(t, "run")
	cfg.CacheDir = filepath.Join(t.TempDir(), "not", "there")
	dir := t.TempDir()
	counter := filepath.Join(dir, "starts")
	script := filepath.Join(dir, "qemu")
	text := "#!/bin/sh\necho x >> '" + counter + "'\nexec '" + cfg.Binary[0] + "' \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.Binary = []string{script}
	probe := func(want int) {
		t.Helper()
		a, err := ProbeAccel(within(t), cfg)
		if err != nil || a.String() != "KVM" {
			t.Fatalf("ProbeAccel() = %v, %v", a, err)
		}
		b, _ := os.ReadFile(counter)
		if got := strings.Count(string(b), "x"); got != want {
			t.Fatalf("QEMU was started %d times, want %d", got, want)
		}
	}
	var all sync.WaitGroup
	for range 5 { // at once: one probes, the others wait for it
		all.Go(func() { _, _ = ProbeAccel(within(t), cfg) })
	}
	all.Wait()
	probe(1)
	probe(1)
	if err := os.WriteFile(cfg.Kernel, []byte("another kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	probe(2)
	cfg.Env = append(cfg.Env, "QEMU_MODULE_DIR=/x")
	probe(3)
	names, _ := filepath.Glob(filepath.Join(cfg.CacheDir, "*.json"))
	for _, name := range names {
		if err := os.WriteFile(name, []byte(`{"runs": tr`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	probe(4) // a damaged cache is no verdict
	left, _ := filepath.Glob(filepath.Join(cfg.CacheDir, ".kvm-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestVerdictOfAnotherKey(t *testing.T) {
	name := filepath.Join(t.TempDir(), "v.json")
	if err := storeVerdict(name, "a", verdict{Runs: true}); err != nil {
		t.Fatal(err)
	}
	if v, ok := loadVerdict(name, "a"); !ok || !v.Runs {
		t.Errorf("loadVerdict() = %v, %v", v, ok)
	}
	if v, ok := loadVerdict(name, "b"); ok {
		t.Errorf("loadVerdict() of another key = %v", v)
	}
	past := time.Now().Add(-time.Second)
	b, err := json.Marshal(cachedVerdict{Key: "a", Expires: &past})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, ok := loadVerdict(name, "a"); ok {
		t.Errorf("loadVerdict() of an expired one = %v", v)
	}
}
