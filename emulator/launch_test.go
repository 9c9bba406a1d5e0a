package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/images/instance"
	kit "github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// fakeImage is an instance's image that boots nowhere.
func fakeImage(t *testing.T) *instance.Image {
	t.Helper()
	dir := t.TempDir()
	k := kit.Kernel{Release: "6.12.0-fake", PVH: true}
	image := &instance.Image{Kernel: filepath.Join(dir, "bzImage"), Initramfs: filepath.Join(dir, "initramfs"), KernelArgs: "console=ttyS0"}
	for path, content := range map[string][]byte{
		image.Kernel:    kit.BzImage(k.Release, kit.Payload(t, "gzip", k.ELF(t))),
		image.Initramfs: []byte("ramdisk"),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

func cold(t *testing.T) InstanceConfig {
	return InstanceConfig{Image: fakeImage(t), Cold: true}
}

func TestInstanceConfigCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*InstanceConfig)
		want string // of the error; empty: none
	}{
		{"defaults", func(*InstanceConfig) {}, ""},
		{"no image", func(c *InstanceConfig) { c.Image = nil }, "instance image is missing"},
		{"one CPU", func(c *InstanceConfig) { c.CPUs = 1 }, "CPU count of the instance is 1"},
		{"many CPUs", func(c *InstanceConfig) { c.CPUs = 65 }, "CPU count of the instance is 65"},
		{"odd CPUs", func(c *InstanceConfig) { c.CPUs = 5 }, ""},
		{"odd CPUs in cores of 2", func(c *InstanceConfig) { c.CPUs, c.Threads = 5, 2 }, "threads per core is 2 with 5 CPUs"},
		{"cores of 4", func(c *InstanceConfig) { c.Threads = 4 }, "threads per core is 4"},
		{"little memory", func(c *InstanceConfig) { c.MemoryMiB = 255 }, "memory of the instance is 255 MiB"},
		{"odd memory", func(c *InstanceConfig) { c.MemoryMiB = 1023 }, "memory of the instance is 1023 MiB"},
		{"much memory", func(c *InstanceConfig) { c.MemoryMiB = 1 << 20 }, "memory of the instance is 1048576 MiB"},
		{"type for a firmware table", func(c *InstanceConfig) { c.Type = "m5.xlarge,asset=i-0" }, "instance type is"},
		{"long name", func(c *InstanceConfig) { c.Name = strings.Repeat("n", 256) }, "instance name is of 256 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cold(t)
			tt.edit(&c)
			err := c.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestLaunch(t *testing.T) {
	h := newFakeHost(t, "instance")
	i, err := h.Launch(t.Context(), cold(t))
	if err != nil {
		t.Fatal(Report(err))
	}
	info := i.Info()
	if info.State != Running || info.Warm || info.Name != i.ID() || info.InstanceType != "m5.xlarge" || info.CPUs != 4 || info.MemoryMiB != 1024 || info.Kernel != "6.12.0-fake" || info.Answered <= 0 {
		t.Errorf("Info = %+v", info)
	}
	if !instanceIDPattern.MatchString(i.ID()) || i.ID() == h.InstanceID() {
		t.Errorf("id %s", i.ID())
	}
	if list := h.Instances(); len(list) != 1 || list[0] != i {
		t.Errorf("Instances = %v", list)
	}
	if err := i.Terminate(t.Context()); err != nil || i.Ended() != EndTerminated || i.Err() != nil {
		t.Errorf("Terminate = %v, ended %q, %v", err, i.Ended(), i.Err())
	}
	if list := h.Instances(); len(list) != 0 {
		t.Errorf("Instances = %v after its end", list)
	}
	if left, _ := os.ReadDir(h.Dir()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What is left of an instance can be saved while it runs and when it has ended.
func TestInstanceArtifacts(t *testing.T) {
	h := newFakeHost(t, "instance", func(c *Config) { c.KeepEnclaveDirs = true })
	i, err := h.Launch(t.Context(), cold(t))
	if err != nil {
		t.Fatal(Report(err))
	}
	check := func(when string) {
		t.Helper()
		dir := t.TempDir()
		kept, err := h.SaveArtifacts(dir)
		if err != nil || len(kept) != 1 || kept[0].ID != i.ID() || strings.Join(kept[0].ConsoleTail, "") != "Linux version 6.12.0" {
			t.Errorf("%s: kept %+v, %v", when, kept, err)
		}
		if script, err := os.ReadFile(filepath.Join(dir, i.ID(), "command.sh")); err != nil || !strings.Contains(string(script), "-M q35") {
			t.Errorf("%s: command.sh has %q, %v", when, script, err)
		}
	}
	until(t, "the console", func() bool { return len(i.Console().Tail(1)) > 0 })
	check("while it runs")
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	check("when it has ended")
}

// A launch that fails says whose fault it is, keeps what there is to see, and
// leaves nothing else.
func TestLaunchFails(t *testing.T) {
	for _, tt := range []struct {
		plot string
		want string // in the report
		kept bool
	}{
		{"refuse", "qemu: unsupported machine type", true},
		{"crash", "Assertion", true},
		{"panic", "No working init found", true},
		{"silent", "its agent did not answer", true},
		{"instance without cards", "its drivers did not find the Nitro cards: ", true},
	} {
		t.Run(tt.plot, func(t *testing.T) {
			t.Setenv("NITROLAB_TIMEOUT_SCALE", "0.05")
			h := newFakeHost(t, tt.plot)
			i, err := h.Launch(t.Context(), cold(t))
			if err == nil {
				_ = i.Close()
				t.Fatal("it succeeds")
			}
			if text := Report(err); !strings.Contains(text, tt.want) {
				t.Errorf("the report says\n%s\nwant %q", text, tt.want)
			}
			var boot *qemu.BootError
			var infra *qemu.InfraError
			kept := ""
			switch {
			case errors.As(err, &boot):
				kept = boot.Kept
			case errors.As(err, &infra):
				kept = infra.Kept
			}
			if _, err := os.Stat(filepath.Join(kept, "command.sh")); (err == nil) != tt.kept || !strings.HasPrefix(kept, h.artifacts) {
				t.Errorf("kept in %q: %v", kept, err)
			}
			if list := h.Instances(); len(list) != 0 {
				t.Errorf("Instances = %v", list)
			}
			if left, _ := os.ReadDir(h.Dir()); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// Whoever gives up, or closes the Host, ends a launch at once.
func TestLaunchInterrupted(t *testing.T) {
	h := newFakeHost(t, "silent")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		until(t, "QEMU's start", func() bool {
			found, _ := filepath.Glob(filepath.Join(h.Dir(), "instance-*", "console.log"))
			return len(found) > 0
		})
		cancel()
	}()
	if _, err := h.Launch(ctx, cold(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Launch = %v, want the context's error", err)
	}
	var launching sync.WaitGroup
	launching.Go(func() {
		if _, err := h.Launch(t.Context(), cold(t)); !errors.Is(err, errClosed) {
			t.Errorf("Launch = %v, want that the host is closed", err)
		}
	})
	until(t, "QEMU's start", func() bool {
		found, _ := filepath.Glob(filepath.Join(h.Dir(), "instance-*", "console.log"))
		return len(found) > 0
	})
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	launching.Wait()
	if _, err := os.Stat(h.artifacts); err == nil {
		t.Error("artifacts of a launch that was given up")
	}
	if _, err := h.Launch(t.Context(), cold(t)); !errors.Is(err, errClosed) {
		t.Errorf("Launch on a closed host = %v", err)
	}
}

// The hypervisor behind the device, driven by a scripted nitro_enclaves driver.
func TestHypervisor(t *testing.T) {
	h := newFakeHost(t, "instance")
	i, err := h.Launch(t.Context(), cold(t))
	if err != nil {
		t.Fatal(Report(err))
	}
	driver := enclavestest.NewDriver(i.nitro.Function())
	if err := driver.Probe(); err != nil {
		t.Fatal(err)
	}
	defer driver.Abandon()
	image, err := os.ReadFile(writeEIF(t, smallSpec(t)))
	if err != nil {
		t.Fatal(err)
	}

	// Two pieces, the higher one first; the image lies across both.
	const mib = 1 << 20
	memory := []enclaves.Region{{Addr: 512 * mib, Size: 8*mib + 2*mib}, {Addr: 256 * mib, Size: 54 * mib}}
	write := func(b []byte, regions []enclaves.Region) {
		t.Helper()
		at := regions[0].Addr + enclaves.ImageOffset
		first := min(uint64(len(b)), regions[0].Addr+regions[0].Size-at)
		if _, err := i.ram.WriteAt(b[:first], int64(at)); err != nil {
			t.Fatal(err)
		}
		if _, err := i.ram.WriteAt(b[first:], int64(regions[1].Addr)); err != nil {
			t.Fatal(err)
		}
	}
	padded := append(image, make([]byte, 3*mib-len(image))...)
	create := func() *enclavestest.VM {
		t.Helper()
		vm, err := driver.CreateVM()
		if err == nil {
			err = errors.Join(vm.AddMemory(memory...), vm.AddVCPU(2), vm.AddVCPU(3))
		}
		if err != nil {
			t.Fatal(err)
		}
		return vm
	}

	t.Run("runs what was donated", func(t *testing.T) {
		write(padded, memory)
		vm := create()
		cid, err := vm.Start(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		list := i.Enclaves()
		if len(list) != 1 || uint64(list[0].CID()) != cid || list[0].CID() != 16 {
			t.Fatalf("enclaves %v, CID %d", list, cid)
		}
		info := list[0].Info()
		if info.MemoryMiB != 64 || fmt.Sprint(info.CPUIDs) != "[2 3]" || info.Flags != "NONE" || info.State != Running ||
			info.EnclaveID != fmt.Sprintf("%s-enc%x", i.ID(), vm.UID) {
			t.Errorf("the enclave is %+v", info)
		}
		if n := nonZero(t, i, memory); n != 0 {
			t.Errorf("%d donated bytes are left to the instance", n)
		}
		write(padded, memory) // what it writes there now
		if err := vm.Close(); err != nil {
			t.Fatal(err)
		}
		if n := nonZero(t, i, memory); n != 0 {
			t.Errorf("%d bytes come back", n)
		}
		if len(i.Enclaves()) != 0 {
			t.Errorf("left are %v", i.Enclaves())
		}
	})

	t.Run("hears of its end", func(t *testing.T) {
		write(padded, memory)
		vm := create()
		if _, err := vm.Start(77, 1); err != nil {
			t.Fatal(err)
		}
		e := i.Enclaves()[0]
		if e.CID() != 77 || e.Info().Flags != "DEBUG_MODE" {
			t.Errorf("the enclave is %+v", e.Info())
		}
		_ = e.machine.process.Kill()
		closed(t, vm.Hangup(), "hang-up")
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	})

	for _, tt := range []struct {
		name string
		edit func(b []byte) []byte
		want syscall.Errno
	}{
		{"no image", func([]byte) []byte { return make([]byte, 3*mib) }, syscall.EINVAL},
		{"an image that ends outside", func(b []byte) []byte {
			b[0x11c+7], b[0x11c+3] = 0xff, 0x7f // the size of its first section
			return b
		}, syscall.EINVAL},
		{"a bit of it is wrong", func(b []byte) []byte { b[len(image)/2] ^= 1; return b }, syscall.EINVAL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write(tt.edit(append([]byte(nil), padded...)), memory)
			vm := create()
			if _, err := vm.Start(0, 0); !errors.Is(err, tt.want) {
				t.Errorf("Start = %v, want %v", err, tt.want)
			}
			if err := vm.Close(); err != nil {
				t.Error(err)
			}
			if found, _ := filepath.Glob(filepath.Join(i.dir, "donated-*")); len(found) > 0 {
				t.Errorf("left: %v", found)
			}
		})
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

// nonZero counts the bytes of some memory that are not zero.
func nonZero(t *testing.T, i *Instance, regions []enclaves.Region) (n int) {
	t.Helper()
	for _, r := range regions {
		b, err := io.ReadAll(io.NewSectionReader(i.ram, int64(r.Addr), int64(r.Size)))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range b {
			if c != 0 {
				n++
			}
		}
	}
	return n
}
