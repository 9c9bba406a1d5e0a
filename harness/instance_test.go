package harness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/harness"
)

// Two instances on one Host, clones of one snapshot: each is itself, and each has
// the stock driver bound to its Nitro Enclaves device.
func TestInstance(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	one, two := host.Launch(t), host.Launch(t)
	for _, i := range []*harness.Instance{one, two} {
		info := i.Info()
		t.Logf("%s warm %t, answered after %v", i.ID(), info.Warm, info.Answered)
		if !info.Warm || info.State != emulator.Running || info.Kernel == "" {
			t.Errorf("%s is %+v, want it running from a snapshot", i.ID(), info)
		}
	}

	t.Run("says what it is", func(t *testing.T) {
		dmi := func(name string) string {
			return strings.TrimSpace(one.Exec(t, "cat /sys/class/dmi/id/"+name))
		}
		for name, want := range map[string]string{
			"board_asset_tag":   one.ID(),
			"product_name":      "m5.xlarge",
			"sys_vendor":        "Amazon EC2",
			"bios_vendor":       "Amazon EC2",
			"board_vendor":      "Amazon EC2",
			"chassis_asset_tag": "Amazon EC2",
			"product_serial":    dmi("product_uuid"),
		} {
			if got := dmi(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if uuid := dmi("product_uuid"); !regexp.MustCompile(`^ec2[0-9a-f]{5}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(uuid) {
			t.Errorf("product_uuid is %q", uuid)
		}
		for _, command := range []string{"hostname", "cat /etc/hostname", "cat /proc/sys/kernel/hostname"} {
			if got := strings.TrimSpace(one.Exec(t, command)); got != one.ID() {
				t.Errorf("%s prints %q, want %q", command, got, one.ID())
			}
		}
	})

	t.Run("clones differ", func(t *testing.T) {
		for _, command := range []string{
			"cat /proc/sys/kernel/random/boot_id",
			"cat /sys/class/dmi/id/product_uuid",
			"head -c 32 /dev/urandom | sha256sum",
			"cat /run/nitrolab/instance.json",
			"hostname",
		} {
			if a, b := one.Exec(t, command), two.Exec(t, command); a == b {
				t.Errorf("%s prints %q on both", command, a)
			}
		}
		// Nothing of the one they are clones of.
		for _, i := range []*harness.Instance{one, two} {
			tables := i.Exec(t, "strings /sys/firmware/dmi/tables/DMI | grep -c "+i.ID())
			if strings.TrimSpace(tables) != "1" {
				t.Errorf("firmware tables of %s name it %s times", i.ID(), tables)
			}
			if ids := strings.Fields(i.Exec(t, "strings /sys/firmware/dmi/tables/DMI | grep '^i-'")); len(ids) != 1 {
				t.Errorf("firmware tables of %s name %v", i.ID(), ids)
			}
		}
	})

	t.Run("clock", func(t *testing.T) {
		text := strings.TrimSpace(one.Exec(t, "date +%s"))
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(time.Unix(seconds, 0)); d < -2*time.Second || d > host.Timeout(5*time.Second) {
			t.Errorf("its clock is %v behind", d)
		}
	})

	t.Run("stock driver", func(t *testing.T) {
		out := one.Exec(t, `for d in /sys/bus/pci/devices/*; do
			[ "$(cat $d/vendor):$(cat $d/device)" = 0x1d0f:0xe4c1 ] || continue
			basename $(readlink $d/driver); basename $(readlink $d/iommu_group); cat $d/class
		done; ls -l /dev/nitro_enclaves; grep -c enclave_ /proc/interrupts; cat /sys/module/nitro_enclaves/parameters/ne_cpus`)
		lines := strings.Split(out, "\n")
		if len(lines) < 5 || lines[0] != "nitro_enclaves" || lines[2] != "0x088000" || !strings.HasPrefix(lines[3], "crw") || lines[4] != "2" {
			t.Errorf("the driver shows\n%s", out)
		}
		if _, err := strconv.Atoi(lines[1]); err != nil {
			t.Errorf("IOMMU group is %q", lines[1])
		}
		// Out and in again.
		one.Exec(t, "rmmod nitro_enclaves && ! test -e /dev/nitro_enclaves && modprobe nitro_enclaves && test -c /dev/nitro_enclaves")
		if out := one.Exec(t, "dmesg | grep -iE 'nitro_enclaves|ne_.*(error|fail)' | grep -iE 'error|fail|warn' || true"); out != "" {
			t.Errorf("the driver complains:\n%s", out)
		}
	})

	t.Run("agent", func(t *testing.T) {
		for name, connect := range map[string]func(context.Context) (*guestagent.Client, error){
			"over vsock":       one.Instance.Agent,
			"over serial port": one.SerialAgent,
		} {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(20*time.Second))
				defer cancel()
				agent, err := connect(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer agent.Close()
				var stdout, stderr bytes.Buffer
				err = agent.Run(ctx, "cat; echo problem >&2; exit 7", guestagent.Streams{Stdin: strings.NewReader("in"), Stdout: &stdout, Stderr: &stderr})
				var exit *guestagent.ExitError
				if !errors.As(err, &exit) || exit.Status != 7 || stdout.String() != "in" || stderr.String() != "problem\n" {
					t.Errorf("ended with %v, output %q, messages %q", err, stdout.String(), stderr.String())
				}
				content := noise(5, 300<<10)
				path := "/tmp/" + strings.ReplaceAll(name, " ", "-")
				if err := agent.Put(ctx, path, 0o640, bytes.NewReader(content)); err != nil {
					t.Fatal(err)
				}
				var back bytes.Buffer
				if err := agent.Get(ctx, path, &back); err != nil || !bytes.Equal(back.Bytes(), content) {
					t.Errorf("%d bytes came back, %v; want the %d that were put", back.Len(), err, len(content))
				}
				if out, err := agent.Output(ctx, "stat -c %a "+path); err != nil || string(out) != "640\n" {
					t.Errorf("mode is %q, %v", out, err)
				}
			})
		}
	})

	t.Run("separate", func(t *testing.T) {
		// CID 3 of each is its own: a listener of the one is not there for the other.
		p := one.Pipe(t, "exec vsock listen 7100")
		awaitPort(t, host, func(ctx context.Context) error {
			c, err := one.Dial(ctx, 7100)
			if err == nil {
				c.Close()
			}
			return err
		})
		_ = p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(5*time.Second))
		defer cancel()
		if c, err := two.Dial(ctx, 7100); err == nil {
			c.Close()
			t.Error("the other instance answers")
		}
	})

	t.Run("ends", func(t *testing.T) {
		pid := two.PID()
		ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(10*time.Second))
		defer cancel()
		if err := two.Terminate(ctx); err != nil || two.Ended() != emulator.EndTerminated || two.Err() != nil {
			t.Errorf("Terminate = %v; ended %q, %v", err, two.Ended(), two.Err())
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Error("its QEMU is still there")
		}
		_, _ = one.TryExec(t, "poweroff -f")
		select {
		case <-one.Done():
		case <-time.After(host.Timeout(20 * time.Second)):
			t.Fatal("an instance that powers off does not end")
		}
		if one.Err() != nil || one.Ended() != emulator.EndReset {
			t.Errorf("ended %q, %v", one.Ended(), one.Err())
		}
	})
}

// awaitPort repeats dial until it succeeds.
func awaitPort(t *testing.T, host *harness.Host, dial func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(10*time.Second))
	defer cancel()
	for {
		err := dial(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%v (last answer: %v)", ctx.Err(), err)
		}
	}
}

// A snapshot that is damaged, however, is made again by itself, and --cold needs
// none.
func TestSnapshotRepairsItself(t *testing.T) {
	vm(t, 1)
	cache := t.TempDir()
	host := harness.New(t, func(c *emulator.Config) error { c.CacheDir = cache; return nil })
	launch := func(opts ...harness.InstanceOption) (info emulator.InstanceInfo) {
		t.Helper()
		// Small, because it is booted four times.
		i := host.Launch(t, append(opts, harness.InstanceCPUs(2), harness.InstanceMemory(512))...)
		info = i.Info()
		if got := strings.TrimSpace(i.Exec(t, "cat /sys/class/dmi/id/board_asset_tag")); got != i.ID() {
			t.Errorf("instance %s says that it is %q", i.ID(), got)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		return info
	}
	states := func() []string {
		found, err := filepath.Glob(filepath.Join(cache, "instances", "*", "state"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	cold := launch(harness.Cold())
	if cold.Warm || len(states()) != 0 {
		t.Errorf("--cold gave %+v and %v", cold, states())
	}
	first := launch()
	if !first.Warm || len(states()) != 1 {
		t.Fatalf("the first launch gave %+v and %v", first, states())
	}
	second := launch()
	t.Logf("first answer: cold %v, with the making of a snapshot %v, warm %v", cold.Answered, first.Answered, second.Answered)

	state := states()[0]
	st, err := os.Stat(state)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() error{
		"bits of it changed": func() error {
			f, err := os.OpenFile(state, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(noise(1, 1<<20), st.Size()/2)
			return errors.Join(err, f.Close())
		},
		"cut off": func() error { return os.Truncate(state, st.Size()/3) },
	} {
		before, err := os.Stat(state)
		if err != nil {
			t.Fatal(err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if info := launch(); !info.Warm {
			t.Errorf("%s: the launch was not warm", name)
		}
		after, err := os.Stat(state)
		if err != nil || os.SameFile(before, after) {
			t.Errorf("%s: the snapshot was not made again: %v", name, err)
		}
	}
}
