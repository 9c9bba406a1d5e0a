package harness_test

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/harness"
)

// counter counts the bytes that are drawn from a source.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// The security module as a program in the enclave sees it, through the stock
// kernel's driver.
func TestNSM(t *testing.T) {
	vm(t, 1)
	drawn := &counter{Reader: entropy(9)}
	host := harness.New(t, harness.Entropy(drawn))
	enclave := host.RunEnclave(t, harness.AgentEIF(t))
	do := enclave.NSM(t)

	// First, for it begins with the state at boot; in its course it locks every
	// PCR.
	t.Run("conformance", func(t *testing.T) { nsmtest.Run(t, do, nsmtest.Sequence()) })
	t.Run("no bytes", func(t *testing.T) { nsmtest.Run(t, do, []nsmtest.Case{nsmtest.Empty()}) })

	t.Run("size limit", func(t *testing.T) {
		// 4096 bytes reach the module, which knows them for no request.
		reply, err := do(make([]byte, wire.MaxRequest))
		if err != nil {
			t.Errorf("request of %d bytes: %v", wire.MaxRequest, err)
		} else if err := nsmtest.Error(wire.InvalidOperation).Check(reply); err != nil {
			t.Errorf("request of %d bytes: %v", wire.MaxRequest, err)
		}
		// One more, and the driver refuses.
		for _, n := range []int{wire.MaxRequest + 1, 64 << 10} {
			if reply, err := do(make([]byte, n)); !errors.Is(err, syscall.EMSGSIZE) {
				t.Errorf("request of %d bytes: reply % x, error %v; want EMSGSIZE", n, reply, err)
			}
		}
		if reply, err := do([]byte("\x6bDescribeNSM")); err != nil || len(reply) == 0 {
			t.Errorf("afterwards: reply % x, error %v", reply, err)
		}
	})

	t.Run("hwrng", func(t *testing.T) {
		if got := strings.TrimSpace(enclave.Exec(t, "cat /sys/class/misc/hw_random/rng_current")); got != "nsm-hwrng" {
			t.Errorf("the kernel's random numbers come from %q", got)
		}
		before := drawn.n.Load()
		const n = 1 << 10
		read := func() string {
			return enclave.Exec(t, "dd if=/dev/hwrng bs=256 count=4 2>/dev/null | hexdump -ve '1/1 \"%02x\"'")
		}
		a, b := read(), read()
		if len(a) != 2*n || len(b) != 2*n || a == b || strings.Trim(a, "0") == "" {
			t.Errorf("/dev/hwrng gives %q and %q", a, b)
		}
		if got := drawn.n.Load() - before; got < 2*n {
			t.Errorf("%d bytes were drawn from the Host for %d", got, 2*n)
		}
	})

	// The command that a person has in `make shell`.
	t.Run("command", func(t *testing.T) {
		want := regexp.MustCompile(`^module_id ` + enclave.Info().ModuleID + `\nversion \d+\.\d+\.\d+\ndigest SHA384\nmax_pcrs 32\nlocked_pcrs 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15( [0-9 ]+)?\n$`)
		if got := enclave.Exec(t, "nsm describe"); !want.MatchString(got) {
			t.Errorf("nsm describe:\n%s\nwant %v", got, want)
		}
		if _, err := enclave.TryExec(t, "nsm extend 15 00"); err == nil || !strings.Contains(err.Error(), wire.ReadOnlyIndex.Error()) {
			t.Errorf("extending a locked PCR: %v, want %s", err, wire.ReadOnlyIndex)
		}
	})
}
