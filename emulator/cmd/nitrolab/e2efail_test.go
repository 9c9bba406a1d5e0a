package main

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/sample"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// An enclave that does not boot says whose fault it is, and what to do next.
func TestFailingBoot(t *testing.T) {
	vm(t)
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), boot)
	defer cancel()
	tools, err := toolchain.Find(ctx, toolchain.Options{Parts: toolchain.PartKernel})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := sample.MisbehaveAsInit(ctx, bundle.Kernel{Image: tools.Kernel.Image, Modules: tools.Kernel.ModulesDir}, "exit", "0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Build(ctx, filepath.Join(w.work, "bad.eif"), spec); err != nil {
		t.Fatal(err)
	}
	r := w.run("run-enclave", "--eif-path", "bad.eif", "--memory", "256", "--cpu-count", "1")
	if r.code != 1 || r.stdout != "" {
		t.Errorf("exit code %d, standard output %q", r.code, r.stdout)
	}
	_, report, _ := strings.Cut(r.stderr, "nitrolab: the enclave ")
	for _, want := range []string{
		`^ended before its heartbeat: the guest panicked\n`,
		`(?m)^  console, last lines:\n(    .*\n)+`,
		`(?m)^    .*Kernel panic - not syncing: Attempted to kill init!`,
		`(?m)^  the image's /init ended; its last lines are above the panic\n`,
		`(?m)^  to reproduce: .*qemu-system-x86_64.* -kernel `,
		`\(kept in .*/my work/nitrolab-artifacts/i-[0-9a-f]{17}-enc[0-9a-f]+\)\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(report) {
			t.Errorf("no %s in the report:\n%s", want, r.stderr)
		}
	}
	folders, err := filepath.Glob(filepath.Join(w.work, "nitrolab-artifacts", "i-*"))
	if err != nil || len(folders) != 1 {
		t.Fatalf("artifacts %v, %v", folders, err)
	}
	if console := read(filepath.Join(folders[0], "console.log")); !strings.Contains(console, "Kernel panic") {
		t.Errorf("console kept: %q", console)
	}
	script := filepath.Join(folders[0], "command.sh")
	if out, err := exec.Command("/bin/sh", "-n", script).CombinedOutput(); err != nil {
		t.Errorf("command.sh: %v\n%s", err, out)
	}
	// Each word of it that names a file of the folder names one that is there.
	words, err := exec.Command("/bin/sh", "-c", `set -- `+strings.TrimPrefix(read(script), "#!/bin/sh\n")+`
for w; do case $w in *nitrolab-artifacts*) test -e "$w" && echo ok "$w" || echo missing "$w";; esac; done`).CombinedOutput()
	if err != nil || !strings.Contains(string(words), "ok ") || strings.Contains(string(words), "missing") {
		t.Errorf("files of command.sh: %v\n%s", err, words)
	}
	if list := w.list(); len(list) > 0 {
		t.Errorf("listed: %+v", list)
	}
}

// What is wrong before anything boots is one sentence.
func TestRunEnclaveRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	t.Parallel()
	w := newWorld(t)
	junk := w.write("junk.eif", []byte(strings.Repeat("junk", 1000)))
	taken := w.write("taken", []byte("precious"))
	small, _ := smallEIF(t)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no image", []string{"--eif-path", "none.eif"}, "nitrolab: enclave image: open " + w.work + "/none.eif: no such file or directory\n"},
		{"no image inside", []string{"--eif-path", "junk.eif"}, "nitrolab: enclave image " + junk + ": eif: "},
		{"memory", []string{"--eif-path", w.image("app.eif")}, "memory is 64 MiB; allowed is at least "},
		{"forward", []string{"--eif-path", small, "--forward", "unix:taken=vsock:1"}, "nitrolab: forward unix:" + taken + "=vsock:1: the path is taken; remove it if nothing uses it\n"},
		{"port of the heartbeat", []string{"--eif-path", small, "--forward", "vsock:9000=tcp:127.0.0.1:1"}, "nitrolab: forward vsock:9000=tcp:127.0.0.1:1: vsock port 9000 of the parent is that of the heartbeat; allowed is another one\n"},
		{"the same port twice", []string{"--eif-path", small, "--forward", "vsock:8000=tcp:127.0.0.1:1", "--forward", "vsock:8000=tcp:127.0.0.1:2"},
			"nitrolab: forward vsock:8000=tcp:127.0.0.1:2: vsock port 8000 of the parent is taken by another forward\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.run(append([]string{"run-enclave", "--memory", "64", "--cpu-count", "1"}, tt.args...)...)
			if r.code != 1 || r.stdout != "" || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("%+v, want %q", r, tt.want)
			}
			if n := strings.Count(r.stderr, "\n"); n > 3 {
				t.Errorf("%d lines:\n%s", n, r.stderr)
			}
		})
	}
	if got := read(taken); got != "precious" {
		t.Errorf("a file in the way of a forward: %q", got)
	}
	// QEMU as asked for is taken at its word.
	r := w.run("run-enclave", "--eif-path", small, "--memory", "64", "--cpu-count", "1", "--qemu", "/no/such/qemu")
	if r.code != 1 || !strings.Contains(r.stderr, "/no/such/qemu") {
		t.Errorf("%+v", r)
	}
}

// The tool chain of the tests is the user's, so nothing is fetched here.
func TestToolchain(t *testing.T) {
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	w := newWorld(t)
	out := w.ok("toolchain")
	for _, want := range []string{`(?m)^part +source +version `, `(?m)^qemu +\S+ +\d+\.`, `(?m)^kernel +\S+ +\d+\.`, `(?m)^accelerator: (KVM|TCG)`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s:\n%s", want, out)
		}
	}
	var info toolchainInfo
	if err := json.Unmarshal([]byte(w.ok("toolchain", "--json", "--accel", "tcg")), &info); err != nil || !strings.HasPrefix(info.Accel, "TCG") || len(info.Parts) < 3 || info.Repaired == nil || info.Changes == nil {
		t.Errorf("%v: accelerator %q, %d parts", err, info.Accel, len(info.Parts))
	}
}

// make run.
func TestDemo(t *testing.T) {
	vm(t)
	w := newWorld(t)
	r := w.run("demo", "--json")
	var got demoSummary
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	if !got.Verdict.Accepted || got.EnclaveID == "" || got.QEMU == "" || got.Kernel == "" || got.HeartbeatSeconds <= 0 || got.TotalSeconds <= got.HeartbeatSeconds {
		t.Errorf("summary %s", r.stdout)
	}
	for _, c := range got.Verdict.Checks {
		if c.Status == "FAIL" {
			t.Errorf("check %+v", c)
		}
	}
	t.Logf("heartbeat after %.2f s, verdict after %.2f s", got.HeartbeatSeconds, got.TotalSeconds)
}

func TestShellInEnclave(t *testing.T) {
	vm(t)
	w := newWorld(t)
	r := w.start("nsm describe\nuname -s\nexit 3\n", "shell", "--enclave").wait()
	if r.code != 3 || !strings.Contains(r.stdout, "\nLinux\n") || !strings.Contains(r.stdout, "-enc") {
		t.Errorf("%+v", r)
	}
}

// demo on a terminal has colour, and the timeline that the README shows.
func TestDemoOnTerminal(t *testing.T) {
	vm(t)
	w := newWorld(t)
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	cmd := w.command("demo")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(w.env, "TERM=xterm", "NO_COLOR=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var screen output
	var reading sync.WaitGroup
	reading.Go(func() {
		for b := make([]byte, 4096); ; {
			n, err := master.Read(b)
			_, _ = screen.Write(b[:n])
			if err != nil {
				return
			}
		}
	})
	kill := time.AfterFunc(boot, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, screen.String())
	}
	reading.Wait()
	text := strings.ReplaceAll(screen.String(), "\r", "")
	if !strings.Contains(text, "\x1b[32mverified.\x1b[0m") {
		t.Errorf("no green verdict:\n%q", text)
	}
	plain := regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]").ReplaceAllString(text, "")
	for _, want := range []string{
		`(?m)^nitrolab \S+ · \S`,
		`(?m)^tool chain   QEMU \S+, Linux \S+$`,
		`(?m)^sample.eif   kernel \S+ MB, ramdisks \S+ MB$`,
		`(?m)^ +\d+\.\d\d s  enclave i-[0-9a-f]{17}-enc[0-9a-f]{15}  CID 16  256 MiB  2 CPUs$`,
		`(?m)^ +\d+\.\d\d s  heartbeat$`,
		`(?m)^ +\d+\.\d\d s  nonce [0-9a-f]{8}…[0-9a-f]{2} sent, document of \d+ bytes received$`,
		`(?m)^           PCR0        ok `,
		`(?m)^           nonce       ok `,
		`(?m)^verified.$`,
		`(?m)^ +\d+\.\d\d s  owner     353 kB of weights encrypted under a key for PCR0 [0-9a-f]{8}…[0-9a-f]{2} and PCR8 [0-9a-f]{8}…[0-9a-f]{2}$`,
		`(?m)^ +\d+\.\d\d s  instance  i-[0-9a-f]{17}  m5.xlarge, (first|warm) start, role parent$`,
		`(?m)^ +\d+\.\d\d s  parent    has ciphertext and role; its own Decrypt: AccessDeniedException$`,
		`(?m)^ +\d+\.\d\d s  enclave   i-[0-9a-f]{17}-enc[0-9a-f]{15}  CID 16$`,
		`(?m)^ +\d+\.\d\d s  client    channel ends in the enclave: `,
		`(?m)^           what is nitrolab\? an emulator of nitro instances and enclaves, for tests on any linux box.$`,
		`(?m)^ +\d+\.\d\d s  audit     Decrypt by parent/i-[0-9a-f]{17} for i-[0-9a-f]{17}-enc[0-9a-f]{16}: the one release of the key$`,
		`(?m)^kept confidential. No AWS,( no KVM,)? no root. Next: make shell, nitrolab run-enclave --help$`,
	} {
		if !regexp.MustCompile(want).MatchString(plain) {
			t.Errorf("no %s on the screen:\n%s", want, plain)
		}
	}
}
