package harness_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/harness"
)

// bulk is how many bytes go each way where data is sent.
const bulk = 1 << 20

// Sockets between an enclave and its parent, through the stock kernel's driver.
func TestVsock(t *testing.T) {
	vm(t, 1)
	host := harness.New(t)
	enclave := host.RunEnclave(t, harness.AgentEIF(t))
	enclave.Agent(t) // connected: what is timed below does not wait for it

	t.Run("refused at once by the enclave", func(t *testing.T) {
		began := time.Now()
		const times = 20
		for i := range uint32(times) {
			enclave.Refuses(t, 6000+i)
		}
		// A refusal that is not sent shows after seconds: the kernel's own limit
		// is 2 s, ours 10.
		if each := time.Since(began) / times; each > host.Timeout(500*time.Millisecond) {
			t.Errorf("a refusal takes %v", each)
		}
	})

	t.Run("refused at once by the parent", func(t *testing.T) {
		began := time.Now()
		for _, to := range []struct {
			name string
			cid  uint32
		}{
			{"the parent", vsock.CIDParent},
			{"the parent by its alias", vsock.CIDHost},
			{"the hypervisor", vsock.CIDHypervisor},
			{"the hypervisor's console", vsock.CIDHypervisor},
			{"nobody", 12345},
		} {
			port := uint32(6000)
			if strings.HasSuffix(to.name, "console") {
				port = vsock.ConsolePort(enclave.CID())
			}
			_, err := enclave.TryExec(t, fmt.Sprintf("vsock connect %d %d </dev/null", to.cid, port))
			if want := fmt.Sprintf("connect to CID %d port %d: ", to.cid, port); !refusedInGuest(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("connecting to %s: %v, want a reset", to.name, err)
			}
		}
		if took := time.Since(began); took > host.Timeout(5*time.Second) {
			t.Errorf("5 refusals take %v", took)
		}
	})

	for _, to := range []struct {
		name string
		cid  uint32
	}{{"CID 3", vsock.CIDParent}, {"CID 2", vsock.CIDHost}} {
		t.Run("enclave connects to "+to.name, func(t *testing.T) {
			l := host.Listen(t, 7000)
			answer := noise(1, bulk)
			served := make(chan error, 1)
			var question []byte
			go func() {
				served <- func() error {
					c, err := l.Accept()
					if err != nil {
						return err
					}
					defer c.Close()
					if a, ok := c.RemoteAddr().(vsock.Addr); !ok || a.CID != enclave.CID() {
						return fmt.Errorf("connection is from %v, want CID %d", c.RemoteAddr(), enclave.CID())
					}
					if err := c.SetDeadline(time.Now().Add(host.Timeout(20 * time.Second))); err != nil {
						return err
					}
					// The answer begins only when the question has ended: the enclave
					// has closed its half.
					if question, err = io.ReadAll(c); err != nil {
						return err
					}
					_, err = c.Write(answer)
					return err
				}()
			}()
			out := enclave.Exec(t, fmt.Sprintf("cd /tmp && dd if=/dev/urandom of=question bs=64k count=%d 2>/dev/null && "+
				"vsock connect %d 7000 <question >answer && sha256sum question answer", bulk>>16, to.cid))
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			if len(question) != bulk {
				t.Errorf("parent got %d bytes, want %d", len(question), bulk)
			}
			if want := fmt.Sprintf("%x  question\n%x  answer\n", sha256.Sum256(question), sha256.Sum256(answer)); out != want {
				t.Errorf("checksums in the enclave:\n%swant\n%s", out, want)
			}
		})
	}

	t.Run("parent connects", func(t *testing.T) {
		question, answer := noise(2, bulk), noise(3, bulk)
		ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(20*time.Second))
		defer cancel()
		var got bytes.Buffer
		guest := make(chan error, 1)
		agent := enclave.Agent(t)
		go func() {
			guest <- agent.Run(ctx, "vsock listen 7001", guestagent.Streams{Stdin: bytes.NewReader(answer), Stdout: &got})
		}()
		c := enclave.Dial(t, 7001)
		if err := c.SetDeadline(time.Now().Add(host.Timeout(20 * time.Second))); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(question); err != nil {
			t.Fatal(err)
		}
		half, ok := c.(interface{ CloseWrite() error })
		if !ok {
			t.Fatalf("%T cannot close one direction", c)
		}
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		// Our half is closed, theirs is not.
		back, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(back, answer) {
			t.Errorf("answer of %d bytes, %v; want %d", len(back), err, len(answer))
		}
		if err := <-guest; err != nil {
			t.Errorf("in the enclave: %v", err)
		}
		if !bytes.Equal(got.Bytes(), question) {
			t.Errorf("the enclave got %d bytes, want %d", got.Len(), len(question))
		}
	})

	t.Run("heartbeat again", func(t *testing.T) {
		// The parent answers whoever knows the byte, and nobody else.
		for sent, want := range map[string]string{`\267`: "b7", `\267x`: "b7", `x`: "", ``: ""} {
			got := enclave.Exec(t, fmt.Sprintf("printf '%s' | vsock connect 3 %d 2>/dev/null | hexdump -ve '1/1 \"%%02x\"'", sent, ports.Heartbeat))
			if got != want {
				t.Errorf("to %q the parent answers %q, want %q", sent, got, want)
			}
		}
	})

	t.Run("broken by the parent", func(t *testing.T) {
		l := host.Listen(t, 7002)
		go func() {
			if c, err := l.Accept(); err == nil {
				c.Close() // with data unread
			}
		}()
		// It ends: an input without end does not keep it.
		if _, err := enclave.TryExec(t, "vsock connect 3 7002 </dev/zero"); err == nil {
			t.Error("a connection that the parent closed ended well")
		}
	})

	t.Run("ends with the enclave", func(t *testing.T) {
		agent := enclave.Agent(t)
		ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(20*time.Second))
		defer cancel()
		go func() { _ = agent.Run(ctx, "sleep 1000 | vsock listen 7003", guestagent.Streams{}) }()
		c := enclave.Dial(t, 7003)
		if err := enclave.Terminate(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(host.Timeout(10 * time.Second))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
		if _, err := c.Write([]byte("x")); err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v, want that of a broken connection", err)
		}
	})
}

// noise is n bytes that repeat for the same seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = entropy(seed).Read(b) // never fails
	return b
}

// refusedInGuest reports whether a command of the guest failed as a program's
// connect does that is answered with RST.
func refusedInGuest(err error) bool {
	var exit *guestagent.ExitError
	return errors.As(err, &exit) && exit.Status == 1 && strings.Contains(string(exit.Stderr), "connection reset by peer")
}

// An enclave has no path to its neighbour, although that one's service answers
// its own parent.
func TestEnclaveIsolation(t *testing.T) {
	vm(t, 2)
	image := harness.AgentEIF(t)
	harness.Attack{
		Name:       "enclave connects to its neighbour",
		Protection: weaken.EnclaveIsolation,
		Run: func(t testing.TB, w weaken.Set) error {
			host := harness.New(t, harness.Weaken(w))
			attacker, victim := host.StartEnclave(t, image), host.StartEnclave(t, image)
			attacker.WaitRunning(t)
			victim.WaitRunning(t)
			if got := victim.Exec(t, "echo hello"); got != "hello\n" {
				t.Fatalf("the victim's service answers its parent with %q", got)
			}
			run := func(command string) (string, error) { return attacker.TryExec(t, command) }
			return readPort(run, ":", victim.CID(), ports.Agent, "SSH-2.0-")
		},
	}.CounterProof(t)
}
