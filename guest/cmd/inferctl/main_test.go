package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

func TestParse(t *testing.T) {
	tests := []struct {
		args string
		want options
	}{
		{"provision --cid 16 --weights f", options{cid: 16, weights: "f", listen: ports.Inference}},
		{"--weights=f --cid=4 provision", options{cid: 4, weights: "f", listen: ports.Inference}},
		{"relay --cid 4294967294", options{relay: true, cid: math.MaxUint32 - 1, listen: ports.Inference}},
		{"relay --cid 16 --listen 7000", options{relay: true, cid: 16, listen: 7000}},
	}
	for _, tt := range tests {
		got, err := parse(strings.Fields(tt.args))
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(options{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.args, diff)
		}
	}
	refused := []struct{ args, want string }{
		{"", "0 commands; allowed is one"},
		{"provision relay --cid 16", "2 commands"},
		{"start --cid 16", `command is "start"; allowed are provision and relay`},
		{"provision --cid 16", "--weights is missing"},
		{"provision --weights f", `--cid is ""; allowed are 4 to 4294967294`},
		{"relay --cid 3", `--cid is "3"; allowed are 4`},
		{"relay --cid 4294967295", `--cid is "4294967295"`},
		{"relay --cid x", `--cid is "x"`},
		{"relay --cid 16 --listen 0", `--listen is "0"; allowed are 1 to`},
		{"relay --cid 16 --listen -1", `--listen is "-1"`},
		{"relay --cid", "flag needs an argument"},
		{"relay --debug", "unknown flag: --debug"},
	}
	for _, tt := range refused {
		if _, err := parse(strings.Fields(tt.args)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
}

func role(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret, SessionToken: "token"}, nil
}

// An enclave answers one request to provision, after it refused some connections.
type enclave struct {
	refuse int
	reply  provision.Reply

	mu  sync.Mutex // protects what follows
	got []provision.Request
	at  []address
}

type address struct{ CID, Port uint32 }

func (e *enclave) dial(_ context.Context, cid, port uint32) (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = append(e.at, address{cid, port})
	if len(e.at) <= e.refuse {
		return nil, syscall.ECONNRESET
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		r, err := provision.ReadRequest(theirs)
		if err != nil {
			return
		}
		e.mu.Lock()
		e.got = append(e.got, r)
		e.mu.Unlock()
		_ = provision.WriteReply(theirs, e.reply)
	}()
	return ours, nil
}

func TestProvision(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "weights")
	if err := os.WriteFile(file, []byte("sealed weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, int64(provision.MaxWeights)+1); err != nil {
		t.Fatal(err)
	}
	noRole := func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no role") }
	ready := provision.Reply{Model: "answers"}
	denied := provision.Reply{Error: &provision.Error{Code: provision.CodeDenied, Text: "not this image"}}
	tests := []struct {
		name, file     string
		enclave        *enclave
		role           func(context.Context) (aws.Credentials, error)
		code           int
		stdout, stderr string // stderr: part of it
		sent           bool
	}{
		{"ready", file, &enclave{reply: ready}, role, 0, "enclave 16 runs model \"answers\"\n", "", true},
		{"not yet listening", file, &enclave{reply: ready, refuse: 20}, role, 0, "enclave 16 runs model \"answers\"\n", "", true},
		{"never listening", file, &enclave{refuse: math.MaxInt}, role, 1, "", "inferctl: connect to enclave 16 port 5200: connection reset by peer", false},
		{"refused", file, &enclave{reply: denied}, role, 1, "", "inferctl: enclave refused: not this image (denied)\n", true},
		{"no role", file, &enclave{}, noRole, 1, "", "inferctl: credentials of the instance's role: no role\n", false},
		{"no file", filepath.Join(dir, "none"), &enclave{}, role, 1, "", "none: no such file", false},
		{"empty file", empty, &enclave{}, role, 1, "", "0 bytes of weights", false},
		{"huge file", huge, &enclave{}, role, 1, "", "huge has more than", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				before := time.Now()
				code := run(t.Context(), []string{"provision", "--cid", "16", "--weights", tt.file},
					world{role: tt.role, dial: tt.enclave.dial}, &stdout, &stderr)
				if took := time.Since(before); took > 2*time.Minute {
					t.Errorf("it took %v", took)
				}
				if code != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) || (stderr.Len() == 0) != (tt.stderr == "") {
					t.Errorf("exit code %d, output %q, standard error %q", code, &stdout, &stderr)
				}
				if strings.Contains(stdout.String()+stderr.String(), secret) {
					t.Error("it prints the secret key")
				}
				var want []provision.Request
				if tt.sent {
					want = []provision.Request{{
						Credentials: provision.Credentials{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret, SessionToken: "token"},
						Weights:     []byte("sealed weights"),
					}}
				}
				if diff := cmp.Diff(want, tt.enclave.got); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				for _, a := range tt.enclave.at {
					if a != (address{16, ports.Provision}) {
						t.Errorf("it connects to %v", a)
					}
				}
			})
		})
	}
}

// An enclave that says nothing is not waited for without end.
func TestProvisionHangs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(file, []byte("w"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		dial := func(context.Context, uint32, uint32) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go io.Copy(io.Discard, theirs)
			return ours, nil
		}
		code := run(t.Context(), []string{"provision", "--cid", "16", "--weights", file}, world{role: role, dial: dial}, io.Discard, &stderr)
		if code != 1 || !strings.Contains(stderr.String(), "deadline exceeded") {
			t.Errorf("exit code %d, standard error %q", code, &stderr)
		}
	})
}

func TestUsage(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, world{}, &stdout, &stderr); code != 0 || stdout.String() != usage || stderr.Len() != 0 {
		t.Errorf("help: exit code %d, output %q, standard error %q", code, &stdout, &stderr)
	}
	stdout.Reset()
	if code := run(t.Context(), []string{"relay"}, world{}, &stdout, &stderr); code != 2 || stdout.Len() != 0 || stderr.String() != "inferctl: --cid is \"\"; allowed are 4 to 4294967294\n"+usage {
		t.Errorf("no CID: exit code %d, output %q, standard error %q", code, &stdout, &stderr)
	}
}
