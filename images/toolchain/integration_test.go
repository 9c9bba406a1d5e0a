package toolchain

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
)

// integration skips a test that uses the network in the quick run.
func integration(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("fetches 72 MB from the machine's Debian mirror: not part of the quick run")
	}
}

// realEnvironment takes away what would stand in for the archive.
func realEnvironment(t *testing.T) {
	t.Helper()
	for _, env := range []string{EnvQEMU, EnvKernel, EnvKernelModules, EnvBusybox, EnvCache} {
		t.Setenv(env, "")
	}
	// A system QEMU that will do would be used; here the packages are tested.
	bin := t.TempDir()
	writeTestFile(t, filepath.Join(bin, "qemu-system-x86_64"), "#!/bin/sh\nexit 1\n", 0o755)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestRealArchive fills a cache from the machine's own mirror, starts the
// kernel in the QEMU that comes of it, and measures a start with a full cache.
func TestRealArchive(t *testing.T) {
	integration(t)
	realEnvironment(t)
	opts := Options{CacheDir: t.TempDir(), Progress: PlainLines(testWriter{t})}
	began := time.Now()
	mustFind(t, opts)
	t.Logf("empty cache: %.1f s", time.Since(began).Seconds())

	began = time.Now()
	tc := mustFind(t, Options{CacheDir: opts.CacheDir})
	t.Logf("full cache, with one start of QEMU: %v", time.Since(began))
	for _, r := range tc.Records()[:1] {
		t.Logf("%+v", r)
	}
	if v, ok := parseVersion(tc.QEMU.Version); !ok || v.less(minQEMU) {
		t.Errorf("QEMU %s", tc.QEMU.Version)
	}

	f, err := os.Open(tc.Kernel.Image)
	must(t, err)
	defer f.Close()
	info, err := kernelimage.Probe(f)
	must(t, err)
	if !info.PVH || info.Version != tc.Kernel.Release || info.Discovery() != kernelimage.ByACPI {
		t.Errorf("kernel is %+v, want one that boots by PVH and finds virtio-mmio through ACPI", info)
	}
	for _, name := range []string{"VIRTIO_MMIO", "NSM", "VIRTIO_VSOCKETS", "PVH"} {
		if !tc.Kernel.HasConfig(name) {
			t.Errorf("kernel has no %s", name)
		}
	}
	for _, image := range []string{tc.Kernel.Image, tc.Kernel.Vmlinux} {
		t.Run(filepath.Base(image), func(t *testing.T) { bootUntilBanner(t, tc.QEMU, image, tc.Kernel.Release) })
	}
	out, err := exec.Command(tc.Busybox, "echo", "static").CombinedOutput()
	if err != nil || string(out) != "static\n" {
		t.Errorf("busybox says %q, %v", out, err)
	}
}

// bootUntilBanner starts a kernel and waits for its first line.
func bootUntilBanner(t *testing.T, q *QEMU, kernel, release string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := q.Command(ctx, "-M", "microvm,pit=on,pic=on,rtc=on", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-nographic",
		"-serial", "stdio", "-no-reboot", "-kernel", kernel, "-append", "console=ttyS0 earlyprintk=serial panic=-1")
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	began := time.Now()
	must(t, cmd.Start())
	seen := false
	for lines := bufio.NewScanner(stdout); !seen && lines.Scan(); {
		seen = strings.Contains(lines.Text(), "Linux version "+release)
	}
	took := time.Since(began)
	cancel()
	_ = cmd.Wait() // killed
	if !seen {
		t.Fatalf("the kernel did not say its name in %v: %s", took, stderr.String())
	}
	t.Logf("first line after %v", took)
}

// TestRealArchiveUnprivileged does the same as a user without any rights.
func TestRealArchiveUnprivileged(t *testing.T) {
	integration(t)
	if os.Getuid() != 0 {
		t.Skip("already not root: TestRealArchive is this test")
	}
	realEnvironment(t)
	const nobody = 65534
	home := t.TempDir()
	must(t, os.Chmod(filepath.Dir(home), 0o711))
	must(t, os.Chown(home, nobody, nobody))
	// The binary lies where only root can go; an open file can be run all the same.
	self, err := os.Open("/proc/self/exe")
	must(t, err)
	defer self.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = home
	cmd.Env = append(os.Environ(), helperEnv+"=real", "HOME="+home, "XDG_CACHE_HOME=", "TMPDIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: false}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), filepath.Join(home, ".cache/nitrolab/toolchain/qemu-")) {
		t.Error("QEMU is not in the user's own cache")
	}
	if strings.Contains(string(out), "_apt") || strings.Contains(string(out), "W: ") {
		t.Error("apt warns")
	}
}
