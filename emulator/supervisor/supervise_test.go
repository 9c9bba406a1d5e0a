package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator"
)

// A session is a Supervise in this process, between two pipes.
type session struct {
	t        *testing.T
	base     string
	enclave  *fakeEnclave
	instance *fakeInstance
	host     *fakeHost
	order    *json.Encoder
	hangUp   func() // what the kernel does when the caller ends
	reports  *json.Decoder
	done     chan error

	// As the Host got it.
	cfg         emulator.EnclaveConfig
	instanceCfg emulator.InstanceConfig
}

// supervise starts one; edit may change the fake before anything happens.
func supervise(t *testing.T, ctx context.Context, edit func(s *session)) *session {
	t.Helper()
	s := &session{t: t, base: useBase(t), enclave: newFakeEnclave(), instance: newFakeInstance(), done: make(chan error, 1)}
	orders, order := io.Pipe()
	reports, report := io.Pipe()
	s.order, s.reports = json.NewEncoder(order), json.NewDecoder(reports)
	s.hangUp = func() { order.Close() }
	if edit != nil {
		edit(s)
	}
	start := func(_ context.Context, _ Order, progress func(string)) (Host, error) {
		progress("starting")
		h, err := newFakeHost(s.enclave)
		if err != nil {
			return nil, err
		}
		h.start = func(cfg emulator.EnclaveConfig) error { s.cfg = cfg; return nil }
		h.instance = s.instance
		h.launch = func(cfg emulator.InstanceConfig) error { s.instanceCfg = cfg; return nil }
		s.host = h
		return h, nil
	}
	go func() {
		s.done <- Supervise(ctx, orders, report, start)
		report.Close()
		orders.Close()
	}()
	t.Cleanup(func() {
		s.hangUp()
		s.enclave.end()
		s.instance.end()
		_, _ = io.Copy(io.Discard, reports)
		nothingLeft(t, s.base)
	})
	return s
}

func (s *session) send(v any) {
	s.t.Helper()
	if err := s.order.Encode(v); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) next() report {
	s.t.Helper()
	var r report
	if err := s.reports.Decode(&r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *session) end() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		return err
	case <-time.After(patience):
		s.t.Fatal("Supervise does not return")
		return nil
	}
}

func TestSupervise(t *testing.T) {
	s := supervise(t, t.Context(), func(s *session) { s.enclave.info.Measurements = measured })
	socket := filepath.Join(t.TempDir(), "app.sock")
	s.send(Order{Enclave: &testConfig, Forwards: []string{"unix:" + socket + "=vsock:5005", "tcp:127.0.0.1:0=vsock:5005"}})
	if r := s.next(); r.Progress != "starting" {
		t.Fatalf("report %+v", r)
	}
	s.enclave.run()
	r := s.next()
	if r.Ready == nil {
		t.Fatalf("report %+v, want that it is ready", r)
	}
	if e := r.Ready.Enclave; e.EnclaveCID != 16 || e.EnclaveName != "app" || r.Ready.RootPEM != "root" || r.Ready.EIFPath != testConfig.EIFPath {
		t.Errorf("ready: %+v", r.Ready)
	}
	if diff := cmp.Diff([]string{socket}, s.cfg.Remove); diff != "" {
		t.Errorf("paths to remove after kill -9 (-want +got):\n%s", diff)
	}
	if f := r.Ready.Forwards; len(f) != 2 || f[0] != "unix:"+socket+"=vsock:5005" || strings.Contains(f[1], ":0=") {
		t.Errorf("forwards %q", f)
	}
	s.send(release{true})
	s.hangUp()

	// The caller is gone, and the enclave lives: it can be found and ended.
	found, err := Find(within(t), s.base, "", "app")
	if err != nil {
		t.Fatal(err)
	}
	if r.Dir != s.host.Dir() {
		t.Errorf("state directory %s, want %s", r.Dir, s.host.Dir())
	}
	if diff := cmp.Diff(*r.Ready, found.Description); diff != "" {
		t.Errorf("description (-ready +found):\n%s", diff)
	}
	if err := found.Terminate(within(t)); err != nil {
		t.Error(err)
	}
	if err := s.end(); err != nil {
		t.Errorf("Supervise = %v", err)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket of a forward is left")
	}
}

func TestSuperviseInstance(t *testing.T) {
	s := supervise(t, t.Context(), func(s *session) {
		s.instance.enclaves = []emulator.EnclaveInfo{{EnclaveID: "i-1-enc2", EnclaveCID: 16}}
	})
	order := emulator.InstanceConfig{Name: "web", Type: "m5.large", CPUs: 2, MemoryMiB: 512, Cold: true}
	s.send(Order{Instance: &order})
	if r := s.next(); r.Progress != "starting" {
		t.Fatalf("report %+v", r)
	}
	s.instance.run()
	r := s.next()
	if r.Ready == nil || r.Ready.Instance == nil || r.Ready.Enclave != nil {
		t.Fatalf("report %+v, want that an instance is ready", r)
	}
	if diff := cmp.Diff(order, s.instanceCfg); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if i := r.Ready.Instance; i.Info.Name != "web" || i.Info.InstanceType != "m5.large" || len(i.Enclaves) != 1 || r.Ready.RootPEM != "root" {
		t.Errorf("ready: %+v", r.Ready)
	}
	s.send(release{true})
	s.hangUp()

	list, err := List(within(t), s.base)
	if err != nil || len(list) != 1 {
		t.Fatalf("List = %v, %v", list, err)
	}
	if diff := cmp.Diff(*r.Ready, list[0].Description); diff != "" {
		t.Errorf("description (-ready +listed):\n%s", diff)
	}
	// It is no enclave of the Host, and neither are those in it.
	if e := Enclaves(list); len(e) > 0 {
		t.Errorf("enclaves %v", e)
	}
	for _, name := range []string{"web", "i-1-enc2"} {
		if _, err := Find(within(t), s.base, "", name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Find(%s) = %v", name, err)
		}
	}
	found, err := Resolve(within(t), s.base, "web")
	if err != nil {
		t.Fatal(err)
	}
	if err := found[0].Terminate(within(t)); err != nil {
		t.Error(err)
	}
	if err := s.end(); err != nil {
		t.Errorf("Supervise = %v", err)
	}
}

// Whoever names an instance means that one, so there is no second with the name; one
// without a name claims none.
func TestSuperviseInstanceName(t *testing.T) {
	base := useBase(t)
	other, err := openClaims(base)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.exactName("web"); err != nil {
		t.Fatal(err)
	}
	launched := errors.New("launched")
	run := func(name string) error {
		in := strings.NewReader(mustJSON(t, Order{Instance: &emulator.InstanceConfig{Name: name}}))
		// The end of the pipe is not the end of the caller here.
		return Supervise(t.Context(), io.MultiReader(in, silence{t.Context()}), io.Discard, func(context.Context, Order, func(string)) (Host, error) {
			h, err := newFakeHost(newFakeEnclave())
			if err == nil {
				h.launch = func(emulator.InstanceConfig) error { return launched }
			}
			return h, err
		})
	}
	want := `instance name is "web", which another instance or enclave of yours has (nitrolab ps lists them); allowed is one that is free, or none`
	if err := run("web"); err == nil || err.Error() != want {
		t.Errorf("a name that is taken: %v, want %s", err, want)
	}
	for _, name := range []string{"app", "", "web_1"} {
		if err := run(name); !errors.Is(err, launched) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if cid, err := other.cid(0); cid != firstCID || err != nil {
		t.Errorf("CID %d, %v; instances take none", cid, err)
	}
}

// silence is the pipe of a caller that says nothing more.
type silence struct{ ctx context.Context }

func (s silence) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, io.EOF
}

// What a guest that failed by itself had to say is the last report.
func TestSuperviseGuestFails(t *testing.T) {
	s := supervise(t, t.Context(), nil)
	s.send(Order{Instance: &emulator.InstanceConfig{}})
	s.next()
	s.instance.run()
	if r := s.next(); r.Ready == nil {
		t.Fatalf("report %+v", r)
	}
	s.instance.err = errors.New("QEMU broke")
	s.instance.end()
	if r := s.next(); r.Error != "QEMU broke" {
		t.Errorf("report %+v", r)
	}
	if err := s.end(); err == nil {
		t.Error("no error")
	}
}

// Until the release the caller's end is the guest's, at every point.
func TestSuperviseAbandoned(t *testing.T) {
	tests := map[string]func(s *session){
		"before it runs": func(*session) {},
		"before the release": func(s *session) {
			s.enclave.run()
			s.instance.run()
			if r := s.next(); r.Ready == nil {
				s.t.Errorf("report %+v", r)
			}
		},
		"with another word": func(s *session) { s.send(release{false}) },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			bothKinds(t, func(t *testing.T, kind string, o Order) {
				s := supervise(t, t.Context(), nil)
				s.send(o)
				s.next()
				do(s)
				s.hangUp()
				if r := s.next(); r.Error != errAbandoned.Error() {
					t.Errorf("report %+v", r)
				}
				if err := s.end(); !errors.Is(err, errAbandoned) {
					t.Errorf("Supervise = %v", err)
				}
			})
		})
	}
}

func TestSuperviseSignal(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := supervise(t, ctx, nil)
	s.send(Order{Enclave: &testConfig})
	s.next()
	s.enclave.run()
	s.next()
	s.send(release{true})
	until(t, "the release", func() bool {
		running, err := List(t.Context(), s.base)
		return err == nil && len(running) == 1
	})
	cancel()
	if err := s.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("Supervise = %v", err)
	}
}

// What goes wrong is told in one report, and leaves nothing.
func TestSuperviseFails(t *testing.T) {
	folder := t.TempDir()
	tests := []struct {
		name string
		edit func(s *session)
		order
		want string
	}{
		{"forward", nil, order{Forwards: []string{"nonsense"}}, `forward "nonsense": want LISTEN=DIAL`},
		{"listener", nil, order{Forwards: []string{"tcp:127.0.0.1:0=vsock:1", "unix:" + folder + "=vsock:1"}}, "the path is taken"},
		{"boot", func(s *session) { s.enclave.err = errors.New("the guest panicked"); s.enclave.end() }, order{}, "the guest panicked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := supervise(t, t.Context(), tt.edit)
			s.send(Order{Enclave: &testConfig, Forwards: tt.Forwards})
			r := s.next()
			for r.Progress != "" {
				r = s.next()
			}
			if !strings.Contains(r.Error, tt.want) {
				t.Errorf("report %+v, want %q", r, tt.want)
			}
			if err := s.end(); err == nil {
				t.Error("no error")
			}
		})
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		t.Errorf("a folder in the way of a forward: %v", err)
	}
}

type order struct{ Forwards []string }

func TestSuperviseStrangeOrders(t *testing.T) {
	started := errors.New("started")
	for _, text := range []string{"", "{", "null", "[]", `{"Enclave": 1}`, "\x00\xff", "{}", `{"Enclave": {}, "Instance": {}}`, `{"Instance": {}, "Forwards": ["vsock:1=tcp:a:1"]}`} {
		err := Supervise(t.Context(), strings.NewReader(text), io.Discard, func(context.Context, Order, func(string)) (Host, error) {
			return nil, started
		})
		if err == nil || errors.Is(err, started) {
			t.Errorf("order %q: %v", text, err)
		}
	}
}

// CIDs and names are those of the user, not of one Host.
func TestSuperviseClaims(t *testing.T) {
	base := useBase(t)
	other, err := openClaims(base)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if _, err := other.cid(16); err != nil {
		t.Fatal(err)
	}
	if _, err := other.nextName("app"); err != nil {
		t.Fatal(err)
	}
	run := func(cfg emulator.EnclaveConfig) (emulator.EnclaveConfig, error) {
		e := newFakeEnclave()
		e.end() // at once
		e.err = errors.New("ended")
		var got emulator.EnclaveConfig
		caller, hangUp := io.Pipe()
		defer hangUp.Close()
		in := io.MultiReader(strings.NewReader(mustJSON(t, Order{Enclave: &cfg})), caller)
		err := Supervise(t.Context(), in, io.Discard, func(context.Context, Order, func(string)) (Host, error) {
			h, err := newFakeHost(e)
			if err == nil {
				h.start = func(c emulator.EnclaveConfig) error { got = c; return nil }
			}
			return h, err
		})
		return got, err
	}
	got, _ := run(testConfig)
	if got.CID != 17 || got.Name != "app_1" {
		t.Errorf("CID %d, name %q", got.CID, got.Name)
	}
	cfg := testConfig
	cfg.CID, cfg.Name = 16, "mine"
	if _, err := run(cfg); err == nil || !strings.Contains(err.Error(), "enclave CID is 16") {
		t.Errorf("a CID that is taken: %v", err)
	}
	cfg.CID = 40
	if got, _ = run(cfg); got.CID != 40 || got.Name != "mine" {
		t.Errorf("CID %d, name %q", got.CID, got.Name)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A forward into an enclave waits for the heartbeat, and a while for the
// application.
func TestParentDial(t *testing.T) {
	useBase(t)
	e := newFakeEnclave()
	h, err := newFakeHost(e)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ready := make(chan struct{}, 1)
	p := newParent(h)
	p.enclave = &dialCounter{fakeEnclave: e, ready: ready}
	e.ports[5005] = func(c net.Conn) { c.Close() }

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Dial(ctx, 5005); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial before the heartbeat = %v", err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		c, err := p.Dial(within(t), 5005)
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	})
	e.run()
	all.Wait()
	if len(ready) != 1 {
		t.Error("at the heartbeat the application is not waited for")
	}
	<-ready
	p.ran = func() time.Time { return time.Now().Add(-2 * appGrace) }
	c, err := p.Dial(within(t), 5005)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if len(ready) != 0 {
		t.Error("long after the heartbeat refusals are tried again")
	}
	// An enclave that hangs is given up, and a caller's own end is the caller's.
	h.scale = 0.001
	p.enclave = hanging{e}
	if _, err := p.Dial(within(t), 5005); err == nil || err.Error() != "the enclave did not answer on vsock port 5005 within 15ms" {
		t.Errorf("Dial of an enclave that hangs = %v", err)
	}
	h.scale = 1
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := p.Dial(ctx, 5005); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial of an enclave that hangs = %v", err)
	}
	e.err = errors.New("ended")
}

// hanging does not answer.
type hanging struct{ *fakeEnclave }

func (h hanging) Dial(ctx context.Context, _ uint32) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// dialCounter tells when DialReady is used.
type dialCounter struct {
	*fakeEnclave
	ready chan struct{}
}

func (d *dialCounter) DialReady(ctx context.Context, port uint32) (net.Conn, error) {
	d.ready <- struct{}{}
	return d.Dial(ctx, port)
}

func TestParseForwards(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	specs, err := parseForwards([]string{"unix:a.sock=vsock:1", "vsock:2=unix:../b.sock", "vsock:3=tcp:127.0.0.1:4"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range specs {
		got = append(got, s.String())
	}
	want := []string{"unix:" + here + "/a.sock=vsock:1", "vsock:2=unix:" + filepath.Dir(here) + "/b.sock", "vsock:3=tcp:127.0.0.1:4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("forwards (-want +got):\n%s", diff)
	}
}

// Whatever comes over the pipe, a supervisor says what is wrong and ends.
func FuzzSupervise(f *testing.F) {
	f.Add([]byte(`{"Enclave": {"EIFPath": "/x", "MemoryMiB": 64, "CPUs": 1}, "Forwards": ["vsock:1=tcp:a:1"]}`))
	f.Add([]byte(`{"Instance": {"Name": "x", "CPUs": 4, "Image": {"Kernel": "/k"}}} {"Release": true}`))
	f.Add([]byte(`{} {"Release": true}`))
	f.Add([]byte(`{"Forwards": ["="]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		started := errors.New("started")
		err := Supervise(t.Context(), bytes.NewReader(in), io.Discard, func(context.Context, Order, func(string)) (Host, error) {
			return nil, started
		})
		if err == nil {
			t.Error("no error")
		}
	})
}
