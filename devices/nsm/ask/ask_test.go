package ask_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
)

func TestAsk(t *testing.T) {
	tests := []struct {
		name   string
		nonce  []byte
		answer func(io.Writer) error
		want   []byte
		reason string
	}{
		{
			name:   "document",
			nonce:  []byte("nonce"),
			answer: func(w io.Writer) error { return ask.WriteAnswer(w, []byte("document")) },
			want:   []byte("document"),
		},
		{
			name:   "largest fields",
			nonce:  bytes.Repeat([]byte{1}, ask.MaxNonce),
			answer: func(w io.Writer) error { return ask.WriteAnswer(w, bytes.Repeat([]byte{2}, ask.MaxDocument)) },
			want:   bytes.Repeat([]byte{2}, ask.MaxDocument),
		},
		{
			name:   "refusal with an empty nonce",
			nonce:  []byte{},
			answer: func(w io.Writer) error { return ask.WriteRefusal(w, "no /dev/nsm\x1b[2J") },
			reason: "no /dev/nsm?[2J",
		},
		{
			name:   "long refusal is cut",
			answer: func(w io.Writer) error { return ask.WriteRefusal(w, strings.Repeat("x", 2*ask.MaxReason)) },
			reason: strings.Repeat("x", ask.MaxReason),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			served := make(chan error, 1)
			var asked []byte
			go func() {
				defer server.Close()
				var err error
				if asked, err = ask.ReadQuestion(server); err == nil {
					err = tt.answer(server)
				}
				served <- err
			}()

			got, err := ask.Ask(client, tt.nonce)
			if err := <-served; err != nil {
				t.Fatalf("server: %v", err)
			}
			if !bytes.Equal(asked, tt.nonce) {
				t.Errorf("server read nonce %x, want %x", asked, tt.nonce)
			}
			if tt.reason != "" {
				var refused *ask.RefusedError
				if !errors.As(err, &refused) || refused.Reason != tt.reason {
					t.Fatalf("Ask = %v, want refusal %q", err, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	question := func(r io.Reader) error { _, err := ask.ReadQuestion(r); return err }
	answer := func(r io.Reader) error { _, err := ask.ReadAnswer(r); return err }
	tests := []struct {
		name string
		read func(io.Reader) error
		in   string
		want error
	}{
		{"question: end of stream", question, "", io.EOF},
		{"question: half a length", question, "\x00\x00", io.ErrUnexpectedEOF},
		{"question: half a nonce", question, "\x00\x00\x00\x05non", io.ErrUnexpectedEOF},
		{"question: no nonce", question, "\x00\x00\x00\x05", io.ErrUnexpectedEOF},
		{"question: nonce too long", question, "\x00\x00\x02\x01", ask.ErrTooLong},
		{"question: 4 GiB announced", question, "\xff\xff\xff\xff", ask.ErrTooLong},
		{"answer: end of stream", answer, "", io.ErrUnexpectedEOF},
		{"answer: half a document", answer, "\x00\x00\x00\x05doc", io.ErrUnexpectedEOF},
		{"answer: document too long", answer, "\x00\x00\x30\x01", ask.ErrTooLong},
		{"answer: no reason", answer, "\x00\x00\x00\x00", io.ErrUnexpectedEOF},
		{"answer: reason too long", answer, "\x00\x00\x00\x00\x00\x00\x04\x01", ask.ErrTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// One byte at a time: a stream may cut anywhere.
			if err := tt.read(iotest.OneByteReader(strings.NewReader(tt.in))); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestWriteErrors(t *testing.T) {
	if err := ask.WriteQuestion(io.Discard, make([]byte, ask.MaxNonce+1)); !errors.Is(err, ask.ErrTooLong) {
		t.Errorf("long nonce: %v, want ErrTooLong", err)
	}
	if err := ask.WriteAnswer(io.Discard, make([]byte, ask.MaxDocument+1)); !errors.Is(err, ask.ErrTooLong) {
		t.Errorf("long document: %v, want ErrTooLong", err)
	}
	// Length 0 would read as a refusal.
	if err := ask.WriteAnswer(io.Discard, nil); err == nil {
		t.Error("empty document: no error")
	}
}

// FuzzAsk reads anything as a question and as an answer. What was accepted must
// be what the writers write.
func FuzzAsk(f *testing.F) {
	for _, s := range []string{
		"", "\x00\x00\x00\x05nonce", "\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x02no",
		"\xff\xff\xff\xff", "\x00\x00\x02\x00", "\x00\x00\x30\x00doc",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if nonce, err := ask.ReadQuestion(bytes.NewReader(in)); err == nil {
			var out bytes.Buffer
			if err := ask.WriteQuestion(&out, nonce); err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(in, out.Bytes()) {
				t.Fatalf("question %x written back as %x", in, out.Bytes())
			}
		}
		document, err := ask.ReadAnswer(bytes.NewReader(in))
		if err == nil {
			var out bytes.Buffer
			if err := ask.WriteAnswer(&out, document); err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(in, out.Bytes()) {
				t.Fatalf("answer %x written back as %x", in, out.Bytes())
			}
		}
		var refused *ask.RefusedError
		if errors.As(err, &refused) && strings.ContainsFunc(refused.Reason, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("reason %q holds control characters", refused.Reason)
		}
	})
}
