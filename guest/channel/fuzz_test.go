package channel

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// FuzzFrames: a stream of frames is what was in it, no more than allowed at a time,
// and nothing else.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 2, 'b', 'c'})
	f.Add([]byte{0, 1, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3})
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		var again []byte
		r := bytes.NewReader(stream)
		for {
			frame, err := readFrame(r)
			if err != nil {
				if frame != nil || (err == io.EOF) != (len(again) == len(stream)) ||
					err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrProtocol) {
					t.Fatalf("frame %x, error %v after %d of %d bytes", frame, err, len(again), len(stream))
				}
				break
			}
			if len(frame) > MaxFrame {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
			again = append(binary.BigEndian.AppendUint32(again, uint32(len(frame))), frame...)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatal("other frames than in the stream")
		}
	})
}

// FuzzAnswer: whatever an impostor answers, the client sends nothing after its nonce.
func FuzzAnswer(f *testing.F) {
	l := newLab(f, 1)
	key := newKey(f)
	cfg := tlsServer(f, key)
	document, err := l.source(f, goodPCR)(wire.Attestation{
		Nonce: make([]byte, nonceSize), UserData: make([]byte, 32), PublicKey: newServer(f, l.source(f, goodPCR), &ServerConfig{Key: key}).PublicKey(),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(document))), document...))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 2, 'n', 'o'})
	f.Add([]byte{0, 0, 0x30, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, answer []byte) {
		near, far := net.Pipe()
		defer near.Close()
		var group sync.WaitGroup
		defer group.Wait()
		group.Go(func() {
			defer far.Close()
			session := tls.Server(far, cfg)
			if _, err := ask.ReadQuestion(session); err != nil {
				return
			}
			session.Write(answer)
			session.CloseWrite()
			if rest, _ := io.ReadAll(session); len(rest) > 0 {
				t.Errorf("the client sent %d bytes after its nonce", len(rest))
			}
		})
		if c, err := Client(context.Background(), near, Config{Options: l.options}); err == nil {
			c.Close()
			t.Fatal("the client accepted")
		}
	})
}

// FuzzQuestion: whatever a client says after the handshake, the server makes a
// document for 32 bytes and for nothing else.
func FuzzQuestion(f *testing.F) {
	l := newLab(f, 1)
	source := l.source(f, goodPCR)
	f.Add(append([]byte{0, 0, 0, nonceSize}, make([]byte, nonceSize)...))
	f.Add(append([]byte{0, 0, 0, nonceSize - 1}, make([]byte, nonceSize)...))
	f.Add([]byte{0, 0, 2, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, question []byte) {
		var asked []byte
		s := newServer(t, func(r wire.Attestation) ([]byte, error) { asked = r.Nonce; return source(r) }, nil)
		near, far := net.Pipe()
		var group sync.WaitGroup
		group.Go(func() {
			defer near.Close()
			session := tls.Client(near, clientTLS())
			if session.Handshake() != nil {
				t.Error("no handshake")
				return
			}
			group.Go(func() { session.Write(question); session.CloseWrite() })
			io.Copy(io.Discard, session)
		})
		c, err := s.Handshake(context.Background(), far)
		good := len(question) >= 4+nonceSize && bytes.Equal(question[:4], []byte{0, 0, 0, nonceSize})
		if good != (err == nil) || good && !bytes.Equal(asked, question[4:4+nonceSize]) || !good && asked != nil {
			t.Errorf("question %x: asked for %x, error %v", question, asked, err)
		}
		if c != nil {
			c.Close()
		}
		far.Close()
		group.Wait()
	})
}

// FuzzStranger: bytes that are no TLS, or the beginning of one, at both ends.
func FuzzStranger(f *testing.F) {
	l := newLab(f, 1)
	s := newServer(f, l.source(f, goodPCR), nil)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 0})
	f.Add([]byte{22, 3, 3, 0xff, 0xff})
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Fuzz(func(t *testing.T, stream []byte) {
		for name, do := range map[string]func(net.Conn) error{
			"server": func(c net.Conn) error { _, err := s.Handshake(context.Background(), c); return err },
			"client": func(c net.Conn) error {
				_, err := Client(context.Background(), c, Config{Options: l.options})
				return err
			},
		} {
			near, far := net.Pipe()
			var group sync.WaitGroup
			group.Go(func() { io.Copy(io.Discard, far) })
			group.Go(func() { far.Write(stream); far.Close() })
			if do(near) == nil {
				t.Errorf("%s: a session", name)
			}
			group.Wait()
		}
	})
}
