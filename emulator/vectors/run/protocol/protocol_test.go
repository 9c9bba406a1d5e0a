package protocol_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run/protocol"
)

const fullLine = `{"id":7,"case":"A1-x","document":"hEQ=","time":"2026-11-23T09:51:42.25Z","archive":true,"roots":["-----BEGIN&<>"],` +
	`"pcrs":{"0":"0102","31":"aa"},"nonce":"","user_data":"8c31","public_key":"00","max_age_seconds":300}` + "\n"

var fullRequest = protocol.Request{
	ID: 7, Case: "A1-x", Document: []byte{0x84, 0x44}, Time: time.Date(2026, 11, 23, 9, 51, 42, 250_000_000, time.UTC), Archive: true,
	Roots: []string{"-----BEGIN&<>"}, PCRs: map[uint]vectors.Hex{0: {1, 2}, 31: {0xaa}},
	Nonce: vectors.Hex{}, UserData: vectors.Hex{0x8c, 0x31}, PublicKey: vectors.Hex{0}, MaxAgeSeconds: 300,
}

func TestRequest(t *testing.T) {
	bare := protocol.RequestOf(1, &vectors.Corpus{}, vectors.Case{ID: "A1-x", Time: vectors.Reference, Verdict: vectors.Accept, Fails: []string{"nonce"}})
	for _, tt := range []struct {
		name    string
		request protocol.Request
		line    string
	}{
		{"full", fullRequest, fullLine},
		// Neither the name nor the verdict; no document is an empty one.
		{"bare", bare, `{"id":1,"document":"","time":"2026-11-23T09:51:41.25Z","roots":[],"pcrs":{}}` + "\n"},
	} {
		b, err := tt.request.Line()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.line, string(b)); diff != "" {
			t.Errorf("%s: line (-want +got):\n%s", tt.name, diff)
		}
		got, err := protocol.ParseRequest(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.request, got); diff != "" {
			t.Errorf("%s: request (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestBadRequest(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"no JSON", "hello", "request: invalid character"},
		{"no object", "[]", "request: json: cannot unmarshal array"},
		{"two", fullLine + "{}", "request: invalid character"},
		{"no document", `{"id":3,"time":"2026-11-23T09:51:42Z"}`, "request 3: document is missing"},
		{"null document", `{"id":3,"document":null,"time":"2026-11-23T09:51:42Z"}`, "request 3: document is missing"},
		{"no time", `{"id":3,"document":""}`, "request 3: time is missing"},
		{"negative age", `{"id":3,"document":"","time":"2026-11-23T09:51:42Z","max_age_seconds":-1}`, "max_age_seconds is -1; allowed are 0 and above"},
		{"half a byte", `{"nonce":"8"}`, "hex string"},
		{"negative index", `{"pcrs":{"-1":"00"}}`, "request: json"},
		{"too long", strings.Repeat(" ", protocol.MaxRequest+1), "allowed are 4194304"},
	} {
		if _, err := protocol.ParseRequest([]byte(tt.line)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want %q in it", tt.name, err, tt.want)
		}
	}
	big := protocol.Request{Document: make([]byte, protocol.MaxRequest)}
	if _, err := big.Line(); err == nil || !strings.Contains(err.Error(), "allowed are 4194304") {
		t.Errorf("a request of more than MaxRequest: %v", err)
	}
}

// A reason of any length and content comes through as a reply.
func TestReplyLine(t *testing.T) {
	for _, reason := range []string{"", "a\nb", strings.Repeat("\x00", 1<<20), strings.Repeat("é", 1<<20), "\xff\xfe"} {
		b, err := protocol.Reply{ID: 9, Verdict: vectors.Reject, Reason: reason}.Line()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(b, []byte("\n")) != 1 || b[len(b)-1] != '\n' || len(b) > protocol.MaxReply+1 {
			t.Errorf("%.20q: %d bytes, %d line ends", reason, len(b), bytes.Count(b, []byte("\n")))
		}
		if r, err := protocol.ParseReply(b, 9); err != nil || r.Verdict != vectors.Reject || r.Reason == "" && reason != "" {
			t.Errorf("%.20q: %+v, %v", reason, r, err)
		}
	}
}

func TestServe(t *testing.T) {
	accept := `{"id":1,"document":"AQ==","time":"2026-11-23T09:51:42Z"}`
	reject := `{"id":2,"document":"Ag==","time":"2026-11-23T09:51:42Z","unknown":1}`
	verify := func(q protocol.Request) error {
		if q.Document[0] == 2 {
			return errors.New(`because "2"`)
		}
		return nil
	}
	for _, tt := range []struct{ name, in, out, err string }{
		{name: "nothing"},
		{"both, any line end", accept + "\r\n" + reject, `{"id":1,"verdict":"accept"}` + "\n" + `{"id":2,"verdict":"reject","reason":"because \"2\""}` + "\n", ""},
		{"garbage", accept + "\n\n" + reject, `{"id":1,"verdict":"accept"}` + "\n", "request: unexpected end"},
		{"too long", strings.Repeat("x", protocol.MaxRequest+3), "", "request has more than 4194304 bytes"},
	} {
		var out strings.Builder
		err := protocol.Serve(strings.NewReader(tt.in), &out, verify)
		if diff := cmp.Diff(tt.out, out.String()); diff != "" {
			t.Errorf("%s: replies (-want +got):\n%s", tt.name, diff)
		}
		if got := errText(err); !strings.HasPrefix(got, tt.err) || tt.err == "" && got != "" {
			t.Errorf("%s: error is %q, want %q", tt.name, got, tt.err)
		}
	}
	broken := errors.New("broken")
	if err := protocol.Serve(readerFunc(func([]byte) (int, error) { return 0, broken }), io.Discard, verify); !errors.Is(err, broken) {
		t.Errorf("reader's error became %v", err)
	}
	if err := protocol.Serve(strings.NewReader(accept), writerFunc(func([]byte) (int, error) { return 0, broken }), verify); !errors.Is(err, broken) {
		t.Errorf("writer's error became %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What nobody can meet is refused, never passed over.
func TestVerifyWithout(t *testing.T) {
	for name, edit := range map[string]func(*protocol.Request){
		"nothing":        func(*protocol.Request) {},
		"no policy":      func(q *protocol.Request) { q.PCRs = nil },
		"PCR32":          func(q *protocol.Request) { q.PCRs = map[uint]vectors.Hex{32: make([]byte, 48)} },
		"root is no PEM": func(q *protocol.Request) { q.Roots = []string{"hello"} },
		"root is empty":  func(q *protocol.Request) { q.Roots = []string{""} },
	} {
		q := protocol.Request{Time: vectors.Reference, Document: []byte{}, PCRs: map[uint]vectors.Hex{0: make([]byte, 48)}}
		edit(&q)
		if protocol.Verify(q) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(fullLine))
	f.Add([]byte(`{"id":1,"document":"","time":"2026-11-23T09:51:41.25Z","roots":[],"pcrs":{}}`))
	f.Add([]byte(`{"id":3,"document":"AA==","time":"9999-11-23T09:51:42+23:59","pcrs":{"99":""},"roots":["-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := protocol.ParseRequest(line)
		if err != nil {
			return
		}
		_ = protocol.Verify(q)
		b, err := q.Line()
		if err != nil {
			if len(line) < protocol.MaxRequest/8 {
				t.Errorf("does not encode: %v", err)
			}
			return
		}
		if again, err := protocol.ParseRequest(b); err != nil || !cmp.Equal(q, again) {
			t.Errorf("became %+v, %v; want %+v", again, err, q)
		}
	})
}

func FuzzParseReply(f *testing.F) {
	f.Add([]byte(`{"id":1,"verdict":"reject","reason":"no"}`), 1)
	f.Add([]byte(`{"verdict":"accept"}`), 0)
	f.Add([]byte(`{"id":1e0,"verdict":"accept"}`), 1)
	f.Fuzz(func(t *testing.T, line []byte, id int) {
		r, err := protocol.ParseReply(line, id)
		if err == nil && (r.ID != id || r.Verdict != vectors.Accept && r.Verdict != vectors.Reject) {
			t.Errorf("%+v is the reply to %d", r, id)
		}
	})
}
