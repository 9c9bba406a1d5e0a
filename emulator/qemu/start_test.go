package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/emulator/qmp"
)

func fakeConfig(t *testing.T, plot string) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Binary:  []string{self, "-test.run=none"},
		Env:     []string{fakeEnv + "=" + plot},
		Accel:   Accel{Name: KVM},
		Devices: []Device{Microvm{}, Memory{MiB: 64}},
		Dir:     t.TempDir(),
		Name:    "fake",
	}
}

func startFake(t *testing.T, plot string) *Process {
	t.Helper()
	p, err := Start(within(t), fakeConfig(t, plot))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return p
}

func TestFilesInDir(t *testing.T) {
	cfg := fakeConfig(t, "panic")
	p, err := Start(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Wait()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(cfg.Dir, name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if got := read("console.log"); got != string(p.Console().Tail(1<<20)) || !strings.Contains(got, "Kernel panic") {
		t.Errorf("console.log is %q", got)
	}
	if got := read("command.sh"); got != "#!/bin/sh\n"+p.Reproduce()+"\n" {
		t.Errorf("command.sh is %q", got)
	}
	if strings.Contains(p.Reproduce(), "fd=") || !strings.Contains(p.Reproduce(), "-serial stdio") {
		t.Errorf("command line %s cannot be pasted", p.Reproduce())
	}
	_ = read("qemu.log")
}

func TestStartFails(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	tests := []struct {
		name  string
		plot  string
		edit  func(*Config)
		infra bool
		is    error
		want  string // a part of the message
	}{
		{"no binary", "run", func(c *Config) { c.Binary = nil }, false, nil, "Binary is empty"},
		{"binary missing", "run", func(c *Config) { c.Binary = []string{missing} }, false, fs.ErrNotExist, "Binary"},
		{"binary not in PATH", "run", func(c *Config) { c.Binary = []string{"no-such-qemu"} }, false, exec.ErrNotFound, "Binary"},
		{"no directory", "run", func(c *Config) { c.Dir = missing }, false, fs.ErrNotExist, "Dir"},
		{"bad variable", "run", func(c *Config) { c.Env = []string{"X"} }, false, nil, "Env"},
		{"bad device", "run", func(c *Config) { c.Devices = []Device{CPU{}} }, false, nil, "CPU.Model"},
		{"bad removal", "run", func(c *Config) { c.Remove = []string{"relative"} }, false, nil, "Remove"},
		{"console twice", "run", func(c *Config) { c.Devices = append(c.Devices, Extra{QEMU: words("-chardev null,id=console")}) }, false, nil, `"console"`},
		{"bad arguments", "bad-arguments", nil, true, nil, "exit status 1: qemu: -device nonsense: 'nonsense' is not a valid device model name"},
		{"no monitor", "garbage", nil, true, qmp.ErrProtocol, "protocol broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := fakeConfig(t, tt.plot)
			if tt.edit != nil {
				tt.edit(&cfg)
			}
			file, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Devices = append(cfg.Devices, VhostUser{ID: "x", Driver: DriverVsock, File: file})
			p, err := Start(within(t), cfg)
			if err == nil {
				_ = p.Close()
				t.Fatal("Start succeeded")
			}
			var infra *InfraError
			if errors.As(err, &infra) != tt.infra {
				t.Errorf("Start() = %T %v, want an InfraError: %v", err, err, tt.infra)
			}
			if !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("Start() = %v, want %q, %v", err, tt.want, tt.is)
			}
			if err := file.Close(); !errors.Is(err, os.ErrClosed) {
				t.Error("the device's file was left open")
			}
			goleak.VerifyNone(t)
		})
	}
}

func TestStartDeadline(t *testing.T) {
	t.Run("scaled", func(t *testing.T) {
		t.Setenv(scaleEnv, "0.05") // of 10 s
		_, err := Start(context.Background(), fakeConfig(t, "mute"))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "vhost-user") {
			t.Errorf("Start() = %v, want a deadline with a hint", err)
		}
	})
	t.Run("the caller's", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(200*time.Millisecond, cancel)
		if _, err := Start(ctx, fakeConfig(t, "mute")); !errors.Is(err, context.Canceled) {
			t.Errorf("Start() = %v, want %v", err, context.Canceled)
		}
	})
	goleak.VerifyNone(t)
}

func TestPaused(t *testing.T) {
	cfg := fakeConfig(t, "reset")
	cfg.Paused = true
	p, err := Start(within(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.QMP().Execute(within(t), "query-status", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.QMP().Execute(within(t), "cont", nil, nil); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); !errors.Is(e, ErrGuestReset) {
		t.Errorf("exit %v, want %v", e, ErrGuestReset)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	p := startFake(t, "run")
	env, err := os.ReadFile("/proc/" + itoa(p.Pid()) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "secret") || !strings.Contains(string(env), "PATH=") {
		t.Errorf("environment of QEMU: %q", env)
	}
}
