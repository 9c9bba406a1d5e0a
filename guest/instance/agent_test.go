package instance

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/vsock"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/instance/control"
	"github.com/nitrolab/nitrolab/guest/instance/mux"
)

const bundle = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"

func resume() *control.Resume {
	return &control.Resume{
		Seed: []byte("0123456789abcdef0123456789abcdef"), Time: 1_800_000_000_000_000_001,
		CABundle: []byte(bundle),
		Identity: control.Identity{InstanceID: "i-1", Hostname: "host.internal", Region: "us-east-1"},
	}
}

func quietAgent(t *testing.T, m machine) *Agent {
	a := newAgent(m, slog.New(slog.DiscardHandler))
	t.Cleanup(a.end)
	return a
}

func TestResume(t *testing.T) {
	m := newFakeMachine()
	a := quietAgent(t, m)
	r := resume()
	ready, err := a.Resume(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	// Randomness is first: what is drawn later depends on it.
	want := []string{
		"entropy 3031323334353637383961626364656630313233343536373839616263646566",
		"clock 1800000000000000001",
		"hostname host.internal",
		"facts",
		"write /etc/hostname -rw-r--r--",
		"write /etc/hosts -rw-r--r--",
		"write /etc/ssl/certs/ca-certificates.crt -rw-r--r--",
		"write /run/nitrolab/instance.json -rw-r--r--",
		"listen",
	}
	if diff := cmp.Diff(want, m.done()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if strings.Trim(string(r.Seed), "\x00") != "" {
		t.Error("the seed is still in memory")
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(ready.BootID) {
		t.Errorf("boot id %q is no random UUID", ready.BootID)
	}
	if diff := cmp.Diff(control.Ready{BootID: ready.BootID, Release: "6.12", UptimeMs: 5, CPUs: 2, MemoryKiB: 100}, *ready); diff != "" {
		t.Errorf("ready (-want +got):\n%s", diff)
	}
	files := map[string]string{
		"/etc/hostname": "host.internal\n",
		bundleFile:      bundle,
		"/etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 host.internal\n",
		stateFile:       `{"instanceId":"i-1","hostname":"host.internal","region":"us-east-1","bootId":"` + ready.BootID + `","resumed":"2027-01-15T08:00:00.000000001Z"}` + "\n",
	}
	if diff := cmp.Diff(files, m.files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	again, err := a.Resume(within(t), resume())
	if err != nil {
		t.Fatal(err)
	}
	if again.BootID == ready.BootID {
		t.Error("two resumes have one boot id")
	}
}

// The answer of a resume that failed says where; nothing listens then.
func TestResumeFails(t *testing.T) {
	for _, tt := range []struct{ call, text string }{
		{"entropy", "reseed random number generator"},
		{"clock", "set clock"},
		{"hostname", "set host name"},
		{"facts", ""},
		{"write /etc/hostname", "write /etc/hostname"},
		{"write " + bundleFile, "write " + bundleFile},
		{"write " + stateFile, "write " + stateFile},
	} {
		m := newFakeMachine()
		a := quietAgent(t, m)
		if _, err := a.Resume(within(t), resume()); err != nil {
			t.Fatal(err)
		}
		m.fail = map[string]error{tt.call: unix.EPERM}
		if _, err := a.Resume(within(t), resume()); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: error %v", tt.call, err)
		}
		if a.stop != nil {
			t.Errorf("%s: the agent listens", tt.call)
		}
	}
}

// A Host without certificates leaves those of the image.
func TestResumeWithoutBundle(t *testing.T) {
	m := newFakeMachine()
	r := resume()
	r.CABundle = nil
	if _, err := quietAgent(t, m).Resume(within(t), r); err != nil {
		t.Fatal(err)
	}
	if content, there := m.files[bundleFile]; there {
		t.Errorf("%s was written: %q", bundleFile, content)
	}
}

// The link-local services begin before there is a port, so that they are in the
// snapshot, and end with the agent. Without them the agent works.
func TestLinkLocal(t *testing.T) {
	for _, fail := range []error{nil, unix.EPERM} {
		m := newFakeMachine()
		m.fail = map[string]error{"link-local": fail}
		m.ports[control.Port] = make(chan net.Conn)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { quietAgent(t, m).run(ctx) })
		ours, theirs := net.Pipe()
		select {
		case m.ports[control.Port] <- theirs:
		case <-time.After(patience):
			t.Fatal("the port is not opened")
		}
		c := control.NewClient(ours)
		if err := c.Ping(within(t)); err != nil {
			t.Error(err)
		}
		c.Close()
		cancel()
		wg.Wait()
		want := []string{"link-local", "end link-local"}
		if fail != nil {
			want = want[:1]
		}
		if diff := cmp.Diff(want, m.done()); diff != "" {
			t.Errorf("error %v: calls (-want +got):\n%s", fail, diff)
		}
	}
}

func TestQuiesce(t *testing.T) {
	m := newFakeMachine()
	a := quietAgent(t, m)
	if _, err := a.Resume(within(t), resume()); err != nil {
		t.Fatal(err)
	}
	m.done()
	if err := a.Quiesce(within(t)); err != nil {
		t.Fatal(err)
	}
	want := []string{"remove " + stateFile, "sync", "free", "set /proc/sys/vm/drop_caches 3", "set /proc/sys/vm/compact_memory 1"}
	if diff := cmp.Diff(want, m.done()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if a.stop != nil {
		t.Error("the agent still listens")
	}
	for _, call := range []string{"remove", "set /proc/sys/vm/drop_caches", "set /proc/sys/vm/compact_memory"} {
		m.fail = map[string]error{call: unix.EIO}
		if err := a.Quiesce(within(t)); !errors.Is(err, unix.EIO) {
			t.Errorf("%s: error %v", call, err)
		}
	}
}

// A host is both ends of an instance that runs, as its Host sees them.
type host struct {
	control *control.Client
	streams *mux.Host
}

func run(t *testing.T, m *fakeMachine) (*host, *Agent) {
	t.Helper()
	a := quietAgent(t, m)
	h := &host{}
	for _, name := range []string{control.Port, mux.Port} {
		ours, theirs := net.Pipe()
		m.ports[name] = make(chan net.Conn, 1)
		m.ports[name] <- theirs
		if name == control.Port {
			h.control = control.NewClient(ours)
		} else {
			h.streams = mux.NewHost(ours)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { a.run(ctx) })
	t.Cleanup(func() {
		cancel()
		ended := make(chan struct{})
		go func() {
			wg.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the agent did not end")
		}
		h.control.Close()
		h.streams.Close()
	})
	return h, a
}

// shell runs a command over an SSH connection and returns its output and the host
// key.
func shell(t *testing.T, c net.Conn, command string) (string, ssh.PublicKey) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	var key ssh.PublicKey
	conn, channels, requests, err := ssh.NewClientConn(c, "guest", &ssh.ClientConfig{
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error { key = k; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(conn, channels, requests)
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Output(command)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), key
}

func TestWholeConversation(t *testing.T) {
	m := newFakeMachine()
	h, _ := run(t, m)
	if err := h.control.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	// There is no agent, and no host key, before the resume.
	if _, err := h.streams.Dial(within(t)); !errors.Is(err, mux.ErrRefused) {
		t.Errorf("stream before the resume: %v, want ErrRefused", err)
	}
	var keys []ssh.PublicKey
	for range 2 {
		if err := h.control.Quiesce(within(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := h.streams.Dial(within(t)); !errors.Is(err, mux.ErrRefused) {
			t.Errorf("stream after quiesce: %v, want ErrRefused", err)
		}
		if _, err := h.control.Resume(within(t), *resume()); err != nil {
			t.Fatal(err)
		}
		c, err := h.streams.Dial(within(t))
		if err != nil {
			t.Fatal(err)
		}
		out, key := shell(t, c, "echo $HOME $PATH")
		if want := "/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"; out != want {
			t.Errorf("output %q, want %q", out, want)
		}
		keys = append(keys, key)
	}
	if string(keys[0].Marshal()) == string(keys[1].Marshal()) {
		t.Error("the SSH host key outlived a snapshot")
	}
}

// A session ends with a resume, as it does with a quiesce.
func TestResumeEndsSessions(t *testing.T) {
	m := newFakeMachine()
	h, _ := run(t, m)
	if _, err := h.control.Resume(within(t), *resume()); err != nil {
		t.Fatal(err)
	}
	c, err := h.streams.Dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := h.control.Resume(within(t), *resume()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<10)
	for err == nil {
		_, err = c.Read(b)
	}
	if !errors.Is(err, net.ErrClosed) && err.Error() != "EOF" {
		t.Errorf("read: %v, want the end", err)
	}
}

// socketPair is two ends of a Unix socket.
func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// peer is a connection that came from a vsock address.
type peer struct {
	net.Conn
	addr net.Addr
}

func (p peer) RemoteAddr() net.Addr { return p.addr }

// The agent's vsock port is for the Host: an enclave, the instance itself and
// whoever has no address are refused.
func TestPeerFilter(t *testing.T) {
	m := newFakeMachine()
	h, _ := run(t, m)
	if _, err := h.control.Resume(within(t), *resume()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		addr net.Addr
		ok   bool
	}{
		{"enclave", &vsock.Addr{ContextID: 16, Port: 1000}, false},
		{"host", &vsock.Addr{ContextID: 2, Port: 1000}, true},
		{"instance itself", &vsock.Addr{ContextID: 3, Port: 1000}, false},
		{"hypervisor", &vsock.Addr{ContextID: 0, Port: 1000}, false},
		{"local", &vsock.Addr{ContextID: 1, Port: 1000}, false},
		{"any", &vsock.Addr{ContextID: 0xffffffff, Port: 1000}, false},
		{"no vsock address", fakeAddr("tcp"), false},
		{"host after the others", &vsock.Addr{ContextID: 2, Port: 2}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := socketPair(t) // SSH wants one with a buffer
			defer ours.Close()
			ours.SetDeadline(time.Now().Add(patience))
			m.conns <- peer{theirs, tt.addr}
			if tt.ok {
				if out, _ := shell(t, ours, "echo in"); out != "in\n" {
					t.Errorf("output %q", out)
				}
				return
			}
			if n, err := ours.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Error("the agent spoke to it")
			}
		})
	}
}

// Without vsock the instance can still be asked why.
func TestNoVsock(t *testing.T) {
	m := newFakeMachine()
	m.fail = map[string]error{"listen": unix.EAFNOSUPPORT}
	h, _ := run(t, m)
	if _, err := h.control.Resume(within(t), *resume()); err != nil {
		t.Fatal(err)
	}
	c, err := h.streams.Dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := shell(t, c, "echo in"); out != "in\n" {
		t.Errorf("output %q", out)
	}
}

// An agent that was started again serves at once if its instance was resumed.
func TestStartedAgain(t *testing.T) {
	m := newFakeMachine()
	m.resumed = true
	h, _ := run(t, m)
	if err := h.control.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	c, err := h.streams.Dial(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := shell(t, c, "echo in"); out != "in\n" {
		t.Errorf("output %q", out)
	}
}

// A port that fails is opened again.
func TestPortComesBack(t *testing.T) {
	m := newFakeMachine()
	h, _ := run(t, m)
	if err := h.control.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	h.control.Close()
	ours, theirs := net.Pipe()
	m.ports[control.Port] <- theirs
	c := control.NewClient(ours)
	defer c.Close()
	if err := c.Ping(within(t)); err != nil {
		t.Error(err)
	}
}

// The state is readable JSON with the names that the protocol has.
func TestStateNames(t *testing.T) {
	m := newFakeMachine()
	if _, err := quietAgent(t, m).Resume(within(t), resume()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(m.files[stateFile]), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"instanceId", "hostname", "region", "bootId", "resumed"} {
		if got[name] == nil {
			t.Errorf("no %s", name)
		}
	}
}
