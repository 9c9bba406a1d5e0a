package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	devnsm "github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmpipe"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/guest/nsm"
)

// claims is an Attester whose documents are the claims in text.
type claims struct{}

func (claims) Document(c devnsm.Claims) ([]byte, error) {
	return fmt.Appendf(nil, "nonce=%#v user_data=%#v public_key=%#v", c.Nonce, c.UserData, c.PublicKey), nil
}

// world is an enclave for one command line after the other.
type world struct {
	env
	out, err bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	d, err := devnsm.New(devnsm.Config{ModuleID: "i-0-enc0", Measurements: devnsm.Measurements{0: {0xab}}, Attester: claims{}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	w.env = env{stdout: &w.out, stderr: &w.err, open: func() (*nsm.Session, error) {
		return nsm.New(nsm.TransportFunc(func(req []byte) ([]byte, error) {
			if len(req) > wire.MaxRequest {
				return nil, syscall.EMSGSIZE
			}
			return d.Handle(req), nil
		})), nil
	}}
	return w
}

func TestCommands(t *testing.T) {
	w := newWorld(t)
	zero := strings.Repeat("00", 48)
	extended := "8f0d145c0368ad6b70be22e41c400eea91b971d96ba220fec9fae25a58dffdaaf72dbe8f6783d55128c9df4efaf6f8a7"
	// In this order, on one module.
	for _, tt := range []struct {
		args   string
		want   string // standard output
		code   int
		stderr string // part of it
	}{
		{args: "describe", want: "module_id i-0-enc0\nversion 1.0.0\ndigest SHA384\nmax_pcrs 32\nlocked_pcrs 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n"},
		{args: "pcr 0", want: "PCR0 ab" + zero[2:] + " locked\n"},
		{args: "pcr 0x10", want: "PCR16 " + zero + " unlocked\n"},
		{args: "pcr 32", code: 1, stderr: "InvalidIndex"},
		{args: "extend 17 ", want: extended + "\n"},
		{args: "pcr 17", want: "PCR17 " + extended + " unlocked\n"},
		{args: "lock 17"},
		{args: "extend 17 00", code: 1, stderr: "ReadOnlyIndex"},
		{args: "lock-range 32"},
		{args: "pcr 31", want: "PCR31 " + zero + " locked\n"},
		{args: "lock-range 33", code: 1, stderr: "InvalidIndex"},
		{args: "raw 6b44657363726962654e534d00", want: "a1654572726f7270496e76616c69644f7065726174696f6e\n"},
		{args: "raw " + strings.Repeat("00", 4097), code: 1, stderr: syscall.EMSGSIZE.Error()},

		{args: "", code: 2, stderr: "no command"},
		{args: "describensm", code: 2, stderr: `no command "describensm"`},
		{args: "describe 0", code: 2, stderr: "got 1 arguments, want 0"},
		{args: "pcr -1", code: 2, stderr: "invalid syntax"},
		{args: "pcr 65536", code: 2, stderr: "out of range"},
		{args: "pcr 1 2", code: 2, stderr: "got 2 arguments, want 1"},
		{args: "extend 17", code: 2, stderr: "got 1 arguments, want 2"},
		{args: "extend 17 xy", code: 2, stderr: "invalid byte"},
		{args: "attest --nonce 0", code: 2, stderr: "odd length"},
		{args: "attest --nope", code: 2, stderr: "not defined"},
		{args: "attest 00", code: 2, stderr: "got 1 arguments, want 0"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			w.out.Reset()
			w.err.Reset()
			var args []string
			if tt.args != "" {
				args = strings.Split(tt.args, " ")
			}
			if code := w.main(args); code != tt.code {
				t.Errorf("exit code %d, want %d; %s", code, tt.code, &w.err)
			}
			if w.out.String() != tt.want {
				t.Errorf("printed %q, want %q", w.out.String(), tt.want)
			}
			if !strings.Contains(w.err.String(), tt.stderr) || tt.stderr == "" && w.err.Len() != 0 {
				t.Errorf("standard error %q, want %q in it", w.err.String(), tt.stderr)
			}
		})
	}
}

func TestAllPCRs(t *testing.T) {
	w := newWorld(t)
	if code := w.main([]string{"pcr"}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	if len(lines) != 32 || !strings.HasPrefix(lines[0], "PCR0 ab") || !strings.HasSuffix(lines[31], "unlocked") {
		t.Errorf("printed\n%s", &w.out)
	}
}

func TestRandomCommand(t *testing.T) {
	w := newWorld(t)
	if code := w.main([]string{"random"}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(w.out.String()))
	if err != nil || len(b) != wire.RandomSize {
		t.Errorf("printed %d bytes, %v; want %d", len(b), err, wire.RandomSize)
	}
}

// A flag that is not given is null in the document, an empty one is h”.
func TestAttestCommand(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "doc")
	const want = "nonce=[]byte{0x1, 0x2} user_data=[]byte{} public_key=[]byte(nil)"
	for _, tt := range []struct {
		name string
		args []string
		got  func() (string, error)
	}{
		{"hexadecimal", nil, func() (string, error) {
			b, err := hex.DecodeString(strings.TrimSpace(w.out.String()))
			return string(b), err
		}},
		{"standard output", []string{"-o", "-"}, func() (string, error) { return w.out.String(), nil }},
		{"file", []string{"-o", file}, func() (string, error) {
			b, err := os.ReadFile(file)
			return string(b), err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.out.Reset()
			args := append([]string{"attest", "--nonce", "0102", "--user-data", ""}, tt.args...)
			if code := w.main(args); code != 0 {
				t.Fatalf("exit code %d: %s", code, &w.err)
			}
			if got, err := tt.got(); got != want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func TestServeCommand(t *testing.T) {
	w := newWorld(t)
	w.stdin = strings.NewReader("\x00\x00\x00\x0c\x6bDescribeNSM" + "\x00\x00\x00\x00")
	if code := w.main([]string{"serve"}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &w.err)
	}
	c := nsmpipe.NewClient(&w.out, &bytes.Buffer{})
	for _, want := range []nsmtest.Want{nsmtest.Module{Locked: 16}, nsmtest.Error(wire.InvalidOperation)} {
		reply, err := c.Raw(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := want.Check(reply); err != nil {
			t.Error(err)
		}
	}
	if w.out.Len() != 0 {
		t.Errorf("%d bytes more than two replies", w.out.Len())
	}
}

func TestNoModule(t *testing.T) {
	w := newWorld(t)
	w.open = func() (*nsm.Session, error) { return nil, errors.New("open nsm: gone") }
	if code := w.main([]string{"random"}); code != 1 || !strings.Contains(w.err.String(), "open nsm: gone") {
		t.Errorf("exit code %d, %q", code, w.err.String())
	}
}
