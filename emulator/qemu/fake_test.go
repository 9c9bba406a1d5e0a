package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// fakeEnv makes the test binary play QEMU. Its value is what happens after
// "cont"; see fakes.
const fakeEnv = "FAKE_QEMU"

func TestMain(m *testing.M) {
	if plot := os.Getenv(fakeEnv); plot != "" {
		os.Exit(playQEMU(plot))
	}
	if os.Getenv(ownerEnv) != "" {
		os.Exit(beOwner())
	}
	goleak.VerifyTestMain(m)
}

// A fake is a QEMU of which only the sockets are real.
type fake struct {
	monitor, console *os.File
	status           string // what query-status says
}

// fakes are the plots, by name. They run when the guest is told to; the result
// is the exit status, or -1 to go on answering the monitor.
var fakes = map[string]func(f *fake) int{
	"run": func(f *fake) int {
		f.print("Linux version 6.12.0\r\n")
		go func() { _, _ = io.Copy(f.console, f.console) }() // echo
		return -1
	},
	"silent": func(*fake) int { return -1 },
	"reset": func(f *fake) int {
		f.print("reboot: Restarting system\r\n")
		return f.shutdown("guest-reset", true)
	},
	"poweroff": func(f *fake) int { return f.shutdown("guest-shutdown", true) },
	"panic": func(f *fake) int {
		f.print("[ 1.0] Kernel panic - not syncing: No working init found\r\n[ 1.1] Call Trace:\r\n")
		return f.shutdown("guest-reset", true)
	},
	"panic-device": func(f *fake) int { return f.shutdown("guest-panic", true) },
	"panic-hang": func(f *fake) int {
		f.print("Kernel panic - not syncing: Attempted to kill init!\r\n")
		return -1
	},
	"internal": func(f *fake) int {
		f.status = "internal-error"
		fmt.Fprintln(os.Stderr, "KVM internal error. Suberror: 1")
		f.event("STOP", `{}`)
		return -1
	},
	"crash": func(*fake) int {
		fmt.Fprintln(os.Stderr, "qemu: hw/core: Assertion `x' failed.")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		return -1
	},
	"quiet-exit": func(*fake) int { return 0 },
	"sigterm":    func(f *fake) int { return f.shutdown("host-signal", false) },
	"stuck": func(f *fake) int {
		f.shutdown("guest-reset", true)
		return -1
	},
	"flood": func(f *fake) int {
		go func() {
			for b := []byte(strings.Repeat("noise ", 1000)); ; {
				if _, err := f.console.Write(b); err != nil {
					return
				}
			}
		}()
		return -1
	},
}

// playQEMU is QEMU's main.
func playQEMU(plot string) int {
	// These end before a monitor could answer.
	switch plot {
	case "bad-arguments":
		fmt.Fprintln(os.Stderr, "qemu: -device nonsense: 'nonsense' is not a valid device model name")
		return 1
	case "mute":
		time.Sleep(time.Hour)
	case "garbage":
		fmt.Fprint(inheritedFile("monitor"), "QEMU 11 monitor - type 'help'\r\n")
		time.Sleep(time.Hour)
	}
	f := &fake{monitor: inheritedFile("monitor"), console: inheritedFile("console"), status: "running"}
	f.send(`{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 99}, "package": ""}, "capabilities": []}}`)
	for lines := bufio.NewScanner(f.monitor); lines.Scan(); {
		var cmd struct {
			Execute string
			ID      json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &cmd); err != nil {
			return 2
		}
		value := "{}"
		switch cmd.Execute {
		case "query-status":
			value = fmt.Sprintf(`{"status": %q}`, f.status)
		case "stop":
			f.status = "paused"
			f.event("STOP", `{}`)
		}
		f.send(fmt.Sprintf(`{"return": %s, "id": %s}`, value, cmd.ID))
		switch cmd.Execute {
		case "cont":
			if code := fakes[plot](f); code >= 0 {
				return code
			}
		case "quit":
			return f.shutdown("host-qmp-quit", false)
		}
	}
	return 3
}

func (f *fake) send(s string)  { _, _ = f.monitor.WriteString(s + "\r\n") }
func (f *fake) print(s string) { _, _ = f.console.WriteString(s) }

func (f *fake) event(name, data string) {
	f.send(fmt.Sprintf(`{"event": %q, "data": %s, "timestamp": {"seconds": 1, "microseconds": 2}}`, name, data))
}

func (f *fake) shutdown(reason string, guest bool) int {
	f.event("SHUTDOWN", fmt.Sprintf(`{"guest": %v, "reason": %q}`, guest, reason))
	return 0
}

// inheritedFile opens the socket that the arguments give a character device.
func inheritedFile(id string) *os.File {
	for _, a := range os.Args {
		if fd, ok := strings.CutPrefix(a, "socket,id="+id+",fd="); ok {
			n, err := strconv.Atoi(fd)
			if err == nil {
				return os.NewFile(uintptr(n), id)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "fake QEMU: no socket %q in %q\n", id, os.Args)
	os.Exit(4)
	return nil
}
