package completion

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/guest/channel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseRequest(t *testing.T) {
	tests := []struct {
		name, frame string
		want        Request
		err         string // part of its text; empty for none
	}{
		{"smallest", `{"prompt":"","characters":1}`, Request{"", 1}, ""},
		{"largest", `{"prompt":"` + strings.Repeat("p", MaxPrompt) + `","characters":1024}`, Request{strings.Repeat("p", MaxPrompt), 1024}, ""},
		{"escapes", `{"prompt":"\u0041\n","characters":2}`, Request{"A\n", 2}, ""},
		{"empty", "", Request{}, "not the JSON object"},
		{"null", "null", Request{}, "not the JSON object"},
		{"no number", `{"prompt":"secret","characters":"2"}`, Request{}, "not the JSON object"},
		{"unknown member", `{"prompt":"secret","characters":2,"model":"x"}`, Request{}, "not the JSON object"},
		{"two", `{"prompt":"a","characters":1}{}`, Request{}, "something follows"},
		{"prompt too long", `{"prompt":"` + strings.Repeat("p", MaxPrompt+1) + `","characters":1}`, Request{}, "prompt of 4097 bytes, allowed are 4096"},
		{"no characters", `{"prompt":"secret"}`, Request{}, "characters is 0, allowed are 1 to 1024"},
		{"negative", `{"prompt":"secret","characters":-1}`, Request{}, "characters is -1"},
		{"too many", `{"prompt":"secret","characters":1025}`, Request{}, "characters is 1025"},
	}
	for _, tt := range tests {
		got, err := ParseRequest([]byte(tt.frame))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if (err == nil) != (tt.err == "") || err != nil && (err.Code != CodeRequest || !strings.Contains(err.Text, tt.err) || strings.Contains(err.Text, "secret")) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// pair is a channel to an enclave.
func pair(t *testing.T) (client, enclave *channel.Conn) {
	t.Helper()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	a, err := attestation.NewAuthority(attestation.Config{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := a.Enclave(attestation.EnclaveID{InstanceID: "i-0a1b2c3d4e5f60718", SlotUID: 1, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	pcr := make([]byte, 48)
	pcr[0] = 1
	server, err := channel.NewServer(func(a wire.Attestation) ([]byte, error) {
		return issuer.Document(attestation.Claims{
			PCRs:      map[uint][]byte{0: pcr, 1: pcr, 2: pcr},
			PublicKey: a.PublicKey, UserData: a.UserData, Nonce: a.Nonce,
		})
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	type result struct {
		conn *channel.Conn
		err  error
	}
	opened := make(chan result, 1)
	go func() {
		c, err := server.Handshake(t.Context(), theirs)
		opened <- result{c, err}
	}()
	client, err = channel.Client(t.Context(), ours, channel.Config{Options: attestation.Options{
		Roots: []*x509.Certificate{a.Root()}, PCRs: map[uint][]byte{0: pcr}, Time: now,
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := <-opened
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() {
		// Each says goodbye, which on a pipe somebody has to read.
		go client.Close()
		r.conn.Close()
		ours.Close()
	})
	return client, r.conn
}

// What an enclave may answer, and what Ask makes of it.
func TestAsk(t *testing.T) {
	client, enclave := pair(t)
	tests := []struct {
		name, answer string
		want         string
		err          string
		code         Code
	}{
		{"completion", `{"completion":"a vsock"}`, "a vsock", "", ""},
		{"nothing to say", `{"completion":""}`, "", "", ""},
		{"refusal", `{"completion":"","error":{"code":"no model","text":"not yet"}}`, "", "enclave refused: not yet (no model)", CodeNoModel},
		{"refusal with control characters", `{"error":{"code":"a\nb","text":"\u001b[2J"}}`, "", "enclave refused: ?[2J (a?b)", "a?b"},
		{"empty", "", "", "answer of the enclave: not the JSON object", ""},
		{"null", "null", "", "not the JSON object", ""},
		{"unknown member", `{"completion":"x","logits":[]}`, "", "not the JSON object", ""},
		{"two", `{"completion":"x"}{"completion":"y"}`, "", "something follows", ""},
	}
	for _, tt := range tests {
		asked := make(chan Request, 1)
		go func() {
			frame, err := enclave.Receive(t.Context())
			if err != nil {
				t.Error(err)
			}
			r, failed := ParseRequest(frame)
			if failed != nil {
				t.Error(failed)
			}
			asked <- r
			if err := enclave.Send(t.Context(), []byte(tt.answer)); err != nil {
				t.Error(err)
			}
		}()
		got, err := Ask(t.Context(), client, "what is a \"<vsock>\"?", 7)
		if diff := cmp.Diff(Request{"what is a \"<vsock>\"?", 7}, <-asked); diff != "" {
			t.Errorf("%s: request (-want +got):\n%s", tt.name, diff)
		}
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v; want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
		var refused *Error
		if errors.As(err, &refused) != (tt.code != "") || refused != nil && refused.Code != tt.code {
			t.Errorf("%s: error %#v, want code %q", tt.name, err, tt.code)
		}
	}
}

// What goes wrong outside of the answer.
func TestAskFails(t *testing.T) {
	client, enclave := pair(t)
	if _, err := Ask(t.Context(), client, strings.Repeat("p", MaxPrompt+1), 1); err == nil || !strings.Contains(err.Error(), "prompt of 4097 bytes") {
		t.Errorf("a prompt too long: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, client, "x", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
	gone := make(chan error, 1)
	go func() {
		_, err := enclave.Receive(t.Context())
		enclave.Close()
		gone <- err
	}()
	if _, err := Ask(t.Context(), client, "x", 1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an enclave that hangs up: %v", err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if _, err := Ask(t.Context(), client, "x", 1); err == nil {
		t.Error("a session that is closed works")
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{`{"prompt":"a","characters":1}`, `{"prompt":"\ud800","characters":1024}`, "null", "{}{}", `{"Prompt":"x","characters":1,"characters":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		r, failed := ParseRequest(frame)
		if failed != nil {
			if failed.Code != CodeRequest || r != (Request{}) {
				t.Errorf("%+v with %v", r, failed)
			}
			return
		}
		if len(r.Prompt) > MaxPrompt || r.Characters < 1 || r.Characters > MaxCharacters {
			t.Errorf("out of bounds: %+v", r)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if same, failed := ParseRequest(again); failed != nil || same != r {
			t.Errorf("%+v is written as %q, which is %+v, %v", r, again, same, failed)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{`{"completion":"a"}`, `{"error":{"code":"prompt","text":"\u001b"}}`, `{"error":null}`, "{}", "[]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		got, err := parseResponse(frame)
		if err != nil && (got != "" || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Errorf("%q, %v", got, err)
		}
	})
}
