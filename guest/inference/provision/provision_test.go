package provision

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

func request() Request {
	return Request{
		Credentials: Credentials{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret, SessionToken: "token"},
		Weights:     []byte("sealed weights"),
	}
}

func part(content string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(content)))) + content
}

func TestRequest(t *testing.T) {
	weak := request()
	weak.Weaken = weaken.KeyBinding
	noToken := request()
	noToken.Credentials.SessionToken = ""
	large := request()
	large.Weights = bytes.Repeat([]byte("w"), 100_000)
	for name, want := range map[string]Request{"plain": request(), "weak": weak, "no token": noToken, "large": large} {
		var b bytes.Buffer
		if err := WriteRequest(&b, want); err != nil {
			t.Fatal(err)
		}
		b.WriteString("behind")
		got, err := ReadRequest(&b)
		if err != nil || b.String() != "behind" {
			t.Errorf("%s: %v, behind it %q", name, err, &b)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The bytes of the package comment.
func TestRequestBytes(t *testing.T) {
	var b bytes.Buffer
	r := request()
	if err := WriteRequest(&b, r); err != nil {
		t.Fatal(err)
	}
	want := part(`{"credentials":{"access_key_id":"ASIAIOSFODNN7EXAMPLE","secret_access_key":"`+secret+`","session_token":"token"}}`) + part("sealed weights")
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestWriteRequestRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Request)
		want   string
	}{
		{"no weights", func(r *Request) { r.Weights = nil }, "0 bytes of weights"},
		{"too many weights", func(r *Request) { r.Weights = make([]byte, MaxWeights+1) }, "bytes of weights, allowed are 1 to"},
		{"long token", func(r *Request) { r.Credentials.SessionToken = strings.Repeat("t", MaxHead) }, "credentials are too long"},
	}
	for _, tt := range tests {
		r := request()
		tt.change(&r)
		var b bytes.Buffer
		if err := WriteRequest(&b, r); err == nil || !strings.Contains(err.Error(), tt.want) || b.Len() != 0 {
			t.Errorf("%s: %v and %d bytes", tt.name, err, b.Len())
		}
	}
	if err := WriteRequest(failing{}, request()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReadRequestRefuses(t *testing.T) {
	const head = `{"credentials":{"access_key_id":"A","secret_access_key":"` + secret + `"}}`
	tests := []struct {
		name, in string
		want     error
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"half of the head", part(head)[:50], io.ErrUnexpectedEOF},
		{"no weights", part(head), io.ErrUnexpectedEOF},
		{"half of the weights", part(head) + "\x00\x00\x00\x05abc", io.ErrUnexpectedEOF},
		{"empty head", part("") + part("w"), ErrRequest},
		{"head too long", part(head+strings.Repeat(" ", MaxHead)) + part("w"), ErrRequest},
		{"empty weights", part(head) + part(""), ErrRequest},
		{"weights too long", part(head) + "\x7f\xff\xff\xff", ErrRequest},
		{"no JSON", part(secret) + part("w"), ErrRequest},
		{"null", part("null") + part("w"), ErrRequest},
		{"unknown member", part(`{"Secret":"`+secret+`"}`) + part("w"), ErrRequest},
		{"weights in the head", part(`{"credentials":{"access_key_id":"A","secret_access_key":"x"},"Weights":"dw=="}`) + part("w"), ErrRequest},
		{"two objects", part(head+head) + part("w"), ErrRequest},
		{"no credentials", part("{}") + part("w"), ErrRequest},
		{"no secret key", part(`{"credentials":{"access_key_id":"A"}}`) + part("w"), ErrRequest},
		{"no access key", part(`{"credentials":{"secret_access_key":"A"}}`) + part("w"), ErrRequest},
	}
	for _, tt := range tests {
		got, err := ReadRequest(strings.NewReader(tt.in))
		if !errors.Is(err, tt.want) || tt.want != ErrRequest && errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error has the secret: %v", tt.name, err)
		}
		if diff := cmp.Diff(Request{}, got); diff != "" {
			t.Errorf("%s: with the error comes\n%s", tt.name, diff)
		}
	}
}

// No way of printing shows the secrets of a request.
func TestCredentialsDoNotPrint(t *testing.T) {
	r := request()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "credentials", r.Credentials, "pointer", &r.Credentials, "request", r)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credentials", r.Credentials)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+verb+verb+verb, r, &r, r.Credentials, &r.Credentials)
	}
	log.WriteString(r.Credentials.String() + r.Credentials.GoString())
	for _, s := range []string{secret, "token", fmt.Sprintf("%x", secret)} {
		if strings.Contains(log.String(), s) {
			t.Errorf("%q is in\n%s", s, &log)
		}
	}
}

func TestReply(t *testing.T) {
	// What JSON writes longest: six bytes for each.
	hostile := strings.Repeat("<", 5000)
	tests := []struct {
		name  string
		reply Reply
		model string
		err   *Error
	}{
		{"ready", Reply{Model: "answers"}, "answers", nil},
		{"longest name", Reply{Model: strings.Repeat("<", 255)}, strings.Repeat("<", 255), nil},
		{"name with control characters", Reply{Model: "a\x1b[2Jb"}, "a?[2Jb", nil},
		{"error", Reply{Error: &Error{CodeDenied, "no"}}, "", &Error{CodeDenied, "no"}},
		{"error with control characters", Reply{Error: &Error{"a\nb", "c\x1bd"}}, "", &Error{"a?b", "c?d"}},
		{"long error", Reply{Error: &Error{CodeCredentials, hostile}}, "", &Error{CodeCredentials, hostile[:1024]}},
		{"long error of bytes", Reply{Error: &Error{CodeInternal, strings.Repeat("\x00", 1024)}}, "", &Error{CodeInternal, strings.Repeat("?", 1024)}},
		{"error cut in a character", Reply{Error: &Error{CodeInternal, strings.Repeat("x", 1023) + "ö"}}, "", &Error{CodeInternal, strings.Repeat("x", 1023)}},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		if err := WriteReply(&b, tt.reply); err != nil {
			t.Fatal(err)
		}
		model, err := ReadReply(&b)
		if model != tt.model {
			t.Errorf("%s: model %q, want %q", tt.name, model, tt.model)
		}
		var got *Error
		if errors.As(err, &got) != (tt.err != nil) || err != nil && got == nil {
			t.Errorf("%s: error %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.err, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if err := WriteReply(failing{}, Reply{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

func TestReadReplyRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":        "",
		"empty":          part(""),
		"too long":       part(`{"model":"` + strings.Repeat("x", MaxReply) + `"}`),
		"no JSON":        part("ready"),
		"null":           part("null"),
		"unknown member": part(`{"weights":"x"}`),
		"two objects":    part(`{"model":"a"}{"model":"b"}`),
	} {
		model, err := ReadReply(strings.NewReader(in))
		var refused *Error
		if err == nil || errors.As(err, &refused) || model != "" {
			t.Errorf("%s: %q, %v", name, model, err)
		}
	}
}

// answer plays an enclave that reads a request and writes something.
func answer(reply string) (net.Conn, <-chan error) {
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer theirs.Close()
		_, err := ReadRequest(theirs)
		if err == nil {
			_, err = io.WriteString(theirs, reply)
		}
		done <- err
	}()
	return ours, done
}

func TestSend(t *testing.T) {
	conn, done := answer(part(`{"model":"answers"}`))
	model, err := Send(t.Context(), conn, request())
	if err != nil || model != "answers" || <-done != nil {
		t.Errorf("Send = %q, %v", model, err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("the connection is open")
	}

	conn, done = answer(part(`{"error":{"code":"denied","text":"not this image"}}`))
	_, err = Send(t.Context(), conn, request())
	var refused *Error
	if !errors.As(err, &refused) || refused.Code != CodeDenied || err.Error() != "enclave refused: not this image (denied)" || <-done != nil {
		t.Errorf("Send: %v", err)
	}

	conn, done = answer("")
	if _, err = Send(t.Context(), conn, request()); !errors.Is(err, io.EOF) || <-done != nil {
		t.Errorf("Send to one who hangs up: %v", err)
	}
	bad := request()
	bad.Weights = nil
	conn, done = answer("")
	if _, err = Send(t.Context(), conn, bad); err == nil || <-done == nil {
		t.Errorf("Send without weights: %v", err)
	}
}

// The context ends whatever it waits for: to write, or for the reply.
func TestSendEnds(t *testing.T) {
	for _, reads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			if reads {
				go io.Copy(io.Discard, theirs)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			before := time.Now()
			if _, err := Send(ctx, ours, request()); !errors.Is(err, context.DeadlineExceeded) || time.Since(before) != time.Minute {
				t.Errorf("Send = %v after %v", err, time.Since(before))
			}
		})
	}
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Send(ctx, ours, request()); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v", err)
	}
}
