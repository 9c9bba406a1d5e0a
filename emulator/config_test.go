package emulator

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

func TestCheckEnclaveConfig(t *testing.T) {
	good := EnclaveConfig{EIFPath: "app.eif", MemoryMiB: 512, CPUs: 2}
	tests := []struct {
		name string
		edit func(*EnclaveConfig)
		want string // empty: accepted
	}{
		{"good", func(*EnclaveConfig) {}, ""},
		{"least", func(c *EnclaveConfig) { c.MemoryMiB, c.CPUs = 64, 1 }, ""},
		{"most", func(c *EnclaveConfig) { c.MemoryMiB, c.CPUs, c.CID = 1<<20, 255, 4294967294 }, ""},
		{"first CID", func(c *EnclaveConfig) { c.CID = 4 }, ""},
		{"CPU ids", func(c *EnclaveConfig) { c.CPUIDs = []int{3, 1} }, ""},
		{"no image", func(c *EnclaveConfig) { c.EIFPath = "" }, "enclave image path is empty"},
		{"little memory", func(c *EnclaveConfig) { c.MemoryMiB = 63 }, "memory is 63 MiB; allowed is 64 to 1048576 MiB"},
		{"negative memory", func(c *EnclaveConfig) { c.MemoryMiB = -1 }, "memory is -1 MiB; allowed is 64 to 1048576 MiB"},
		{"much memory", func(c *EnclaveConfig) { c.MemoryMiB = 1<<20 + 1 }, "memory is 1048577 MiB; allowed is 64 to 1048576 MiB"},
		{"no CPU", func(c *EnclaveConfig) { c.CPUs = 0 }, "CPU count is 0; allowed is 1 to 255"},
		{"many CPUs", func(c *EnclaveConfig) { c.CPUs = 256 }, "CPU count is 256; allowed is 1 to 255"},
		{"too few CPU ids", func(c *EnclaveConfig) { c.CPUIDs = []int{1} }, "number of CPU ids is 1; allowed is 2, one for each CPU, or none"},
		{"a CPU twice", func(c *EnclaveConfig) { c.CPUIDs = []int{1, 1} }, "list of CPU ids is [1 1]; allowed is one without repetition"},
		{"long name", func(c *EnclaveConfig) { c.Name = strings.Repeat("x", 256) }, "enclave name is of 256 bytes; allowed is at most 255 bytes"},
		{"CID of loopback", func(c *EnclaveConfig) { c.CID = 1 }, "enclave CID is 1; allowed is 4 to 4294967294, or 0 to choose one"},
		{"CID of the host", func(c *EnclaveConfig) { c.CID = 2 }, "enclave CID is 2; allowed is 4 to 4294967294, or 0 to choose one"},
		{"CID of the parent", func(c *EnclaveConfig) { c.CID = 3 }, "enclave CID is 3; allowed is 4 to 4294967294, or 0 to choose one"},
		{"CID of nobody", func(c *EnclaveConfig) { c.CID = 4294967295 }, "enclave CID is 4294967295; allowed is 4 to 4294967294, or 0 to choose one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.edit(&c)
			err := c.Check()
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			var request *RequestError
			if c.EIFPath != "" && !errors.As(err, &request) {
				t.Errorf("error is a %T, want a *RequestError", err)
			}
		})
	}
}

// nitro-cli's rule: 90 s for each started 6 GiB of image, and as much for each
// started 100 GiB of memory.
func TestBootTimeout(t *testing.T) {
	const gib = 1 << 30
	tests := []struct {
		name      string
		image     int64
		memoryMiB int
		own       time.Duration
		want      time.Duration
	}{
		{"small", 1 << 20, 512, 0, 180 * time.Second},
		{"empty", 0, 0, 0, 180 * time.Second},
		{"just 6 GiB", 6 * gib, 512, 0, 180 * time.Second},
		{"over 6 GiB", 6*gib + 1, 512, 0, 270 * time.Second},
		{"just 100 GiB", 1, 100 << 10, 0, 180 * time.Second},
		{"over 100 GiB", 1, 100<<10 + 1, 0, 270 * time.Second},
		{"both", 13 * gib, 201 << 10, 0, 540 * time.Second},
		{"own", 13 * gib, 201 << 10, time.Second, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := EnclaveConfig{MemoryMiB: tt.memoryMiB, BootTimeout: tt.own}
			if got := c.bootTimeout(tt.image); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestHangTimeout(t *testing.T) {
	host := &Host{cfg: Config{Accel: qemu.Accel{Name: qemu.KVM}}}
	for own, want := range map[time.Duration]time.Duration{0: time.Minute, time.Second: time.Second, -1: -1} {
		e := &Enclave{host: host, cfg: EnclaveConfig{HangTimeout: own}}
		if got := e.hangTimeout(); got != want {
			t.Errorf("%v: %v, want %v", own, got, want)
		}
	}
	host.cfg.Accel.Name = qemu.TCG
	if got := (&Enclave{host: host}).hangTimeout(); got <= time.Minute {
		t.Errorf("without KVM %v, want more than with it", got)
	}
	if (&Enclave{host: host, cfg: EnclaveConfig{HangTimeout: -1}}).isHung(t.Context()) {
		t.Error("a watchdog that is switched off says that the guest hangs")
	}
}

func TestNewHostRefuses(t *testing.T) {
	tools := &toolchain.Toolchain{QEMU: &toolchain.QEMU{Argv: []string{"qemu"}}}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no tools", Config{StateDir: t.TempDir()}, "new host: no tool chain"},
		{"no state", Config{Tools: tools}, "new host: no state directory"},
		{"identity", Config{Tools: tools, StateDir: t.TempDir(), Identity: Identity{InstanceID: "i-1"}}, `new host: instance id is "i-1"; allowed`},
		{"entropy", Config{Tools: tools, StateDir: t.TempDir(), Entropy: strings.NewReader("short")}, "new host: draw host identity: unexpected EOF"},
		{"names", Config{Tools: tools, StateDir: t.TempDir(), Names: 99}, "new host: new attestation authority: unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewHost(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		180 * time.Second:       "180 s",
		4123 * time.Millisecond: "4.12 s",
		20 * time.Millisecond:   "0.02 s",
		90 * time.Minute:        "5400 s",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
