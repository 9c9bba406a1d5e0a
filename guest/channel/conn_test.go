package channel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

func TestFrames(t *testing.T) {
	client, server := sessions(t)
	for _, size := range []int{0, 1, 4, 1 << 14, MaxFrame - 1, MaxFrame} {
		frame := bytes.Repeat([]byte{byte(size)}, size)
		for name, ends := range map[string][2]*Conn{"up": {client, server}, "down": {server, client}} {
			var group sync.WaitGroup
			group.Go(func() {
				if err := ends[0].Send(within(t), frame); err != nil {
					t.Error(err)
				}
			})
			got, err := ends[1].Receive(within(t))
			if err != nil || !bytes.Equal(got, frame) {
				t.Errorf("%s, %d bytes: %d bytes, %v", name, size, len(got), err)
			}
			group.Wait()
		}
	}
	// One that is too long is refused and harms nothing.
	if err := client.Send(within(t), make([]byte, MaxFrame+1)); err == nil || !strings.Contains(err.Error(), "65537 bytes, allowed are 65536") {
		t.Errorf("too long: %v", err)
	}
	if err := client.Send(within(t), []byte("last")); err != nil {
		t.Error(err)
	}
	client.Close()
	if frame, err := server.Receive(within(t)); string(frame) != "last" || err != nil {
		t.Errorf("received %q, %v", frame, err)
	}
	if frame, err := server.Receive(within(t)); frame != nil || err != io.EOF {
		t.Errorf("after the end: %q, %v; want io.EOF", frame, err)
	}
	if client.LocalAddr().String() != server.RemoteAddr().String() || client.RemoteAddr().String() != server.LocalAddr().String() {
		t.Errorf("addresses %v to %v and %v to %v", client.LocalAddr(), client.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
	}
}

// TestHostileFrames: what a peer within the session can send.
func TestHostileFrames(t *testing.T) {
	length := func(n uint32, rest ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	tests := []struct {
		name  string
		bytes []byte
		is    error
	}{
		{"one more than allowed", length(MaxFrame + 1), ErrProtocol},
		{"4 GiB", length(1<<32 - 1), ErrProtocol},
		{"half a length", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"no content", length(1), io.ErrUnexpectedEOF},
		{"half the content", length(6, 'a', 'b', 'c'), io.ErrUnexpectedEOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, server := sessions(t)
			if _, err := server.tls.Write(test.bytes); err != nil {
				t.Fatal(err)
			}
			server.Close()
			if frame, err := client.Receive(within(t)); frame != nil || !errors.Is(err, test.is) || err == io.EOF {
				t.Errorf("frame %q, error %v; want %v", frame, err, test.is)
			}
		})
	}
}

// TestBothWays: one goroutine sends while another receives, and several of each do
// not mix frames.
func TestBothWays(t *testing.T) {
	client, server := sessions(t)
	const senders, each = 3, 30
	var group sync.WaitGroup
	for _, end := range []*Conn{client, server} {
		for i := range senders {
			group.Go(func() {
				for n := range each {
					text := strings.Repeat(fmt.Sprintf("%d/%d ", i, n), 1+200*n)
					if err := end.Send(within(t), []byte(text)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Go(func() {
			var next [senders]int
			for range senders * each {
				frame, err := end.Receive(within(t))
				if err != nil {
					t.Error(err)
					return
				}
				var i, n int
				if _, err := fmt.Sscanf(string(frame), "%d/%d ", &i, &n); err != nil || i >= senders || n != next[i] ||
					string(frame) != strings.Repeat(fmt.Sprintf("%d/%d ", i, n), 1+200*n) {
					t.Errorf("frame of %d bytes that begins with %.20q, %v", len(frame), frame, err)
					return
				}
				next[i]++
			}
		})
	}
	group.Wait()
}

// TestSeveralReceive: each gets whole frames.
func TestSeveralReceive(t *testing.T) {
	client, server := sessions(t)
	const frames = 200
	var group sync.WaitGroup
	group.Go(func() {
		for n := range frames {
			if err := client.Send(within(t), bytes.Repeat([]byte{byte(n)}, 1+n)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 4 {
		group.Go(func() {
			for range frames / 4 {
				frame, err := server.Receive(within(t))
				if err != nil || len(frame) == 0 || !bytes.Equal(frame, bytes.Repeat(frame[:1], 1+int(frame[0]))) {
					t.Errorf("a frame of %d bytes, %v", len(frame), err)
					server.Close() // so that the others do not wait
					return
				}
			}
		})
	}
	group.Wait()
}

// TestCloseWakes: Close ends what waits.
func TestCloseWakes(t *testing.T) {
	client, _ := sessions(t)
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := client.Receive(within(t)); err == nil {
			t.Error("received something")
		}
	})
	client.Close()
	group.Wait()
	if err := client.Send(within(t), nil); err == nil {
		t.Error("sent after Close")
	}
}
