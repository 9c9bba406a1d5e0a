package harness_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
)

// bootsEnv is how often TestBoots starts each machine; more of them find what
// fails once in a hundred.
const bootsEnv = "NITROLAB_BOOTS"

// Both forms of the machine boot and end by themselves, every time: each stall
// that was ever seen came once in three to twenty boots (enclave-observed.md
// section 3). Machines of one and two processors take turns.
func TestBoots(t *testing.T) {
	if testing.Short() {
		t.Skip("VM test: not part of the quick run")
	}
	n := 4
	if text := os.Getenv(bootsEnv); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("%s is %q; allowed are numbers from 1", bootsEnv, text)
		}
	}
	app := harness.MisbehavingEIF(t, "exit", "0")
	init := harness.MisbehavingInitEIF(t, "reset")
	for i := range n {
		cpus := 1 + i%2
		t.Run(fmt.Sprintf("acpi/%d/CPUs=%d", i, cpus), func(t *testing.T) {
			vm(t, 1)
			enclave := harness.New(t).RunEnclave(t, app, harness.Form(emulator.FormACPI), harness.CPUs(cpus))
			if reason := enclave.WaitEnd(t); reason != emulator.EndReset || enclave.Err() != nil {
				t.Errorf("ended by %s (%v), want a reset", reason, enclave.Err())
			}
			mustHave(t, string(enclave.Console().Tail(64<<10)), fmt.Sprintf("smp: Brought up 1 node, %d CPU", cpus))
		})
		// Debian's kernel does not take devices from its command line, so it comes
		// to /init and no further in this form.
		t.Run(fmt.Sprintf("cmdline/%d/CPUs=%d", i, cpus), func(t *testing.T) {
			vm(t, 1)
			_, err := harness.New(t).TryEnclave(t, init, harness.Form(emulator.FormCmdline), harness.CPUs(cpus))
			boot := mustBootError(t, err)
			if want := "the enclave ended before its heartbeat: the guest reset the machine"; boot.Title != want {
				t.Errorf("%v, want %s", err, want)
			}
			mustHave(t, string(boot.Console), "virtio_mmio.device=512@0xfeb00200:6 virtio_mmio.device=512@0xfeb00000:5")
			mustHave(t, string(boot.Console), "Run /init as init process")
			mustHave(t, string(boot.Console), "reboot: machine restart")
		})
	}
}

func mustHave(t *testing.T, console, text string) {
	t.Helper()
	if !strings.Contains(console, text) {
		t.Errorf("console lacks %q:\n%s", text, console)
	}
}
