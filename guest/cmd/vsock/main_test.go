package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, args := range [][]string{{"connect", "3", "9000"}, {"connect", "0", "10016"}, {"listen", "4294967294"}} {
		if open, err := parse(args); err != nil || open == nil {
			t.Errorf("parse(%q) = %v", args, err)
		}
	}
	tests := []struct {
		args []string
		want string
	}{
		{nil, "usage"},
		{[]string{"connect"}, "usage"},
		{[]string{"connect", "3"}, "usage"},
		{[]string{"listen", "3", "9000"}, "usage"},
		{[]string{"dial", "3", "9000"}, "usage"},
		{[]string{"connect", "x", "1"}, `CID is "x"; allowed are 0 to 4294967294`},
		{[]string{"connect", "4294967295", "1"}, `CID is "4294967295"`},
		{[]string{"connect", "3", "-1"}, `port is "-1"`},
		{[]string{"listen", "4294967296"}, `port is "4294967296"`},
	}
	for _, tt := range tests {
		if _, err := parse(tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parse(%q) = %v, want an error with %q", tt.args, err, tt.want)
		}
	}
}

// pair is a connected pair of stream sockets, of a kind that has a CloseWrite as
// vsock has.
func pair(t *testing.T) (ours, peer *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return ends[0], ends[1]
}

// The peer answers only after it saw the end of our input.
func TestJoinHalfClose(t *testing.T) {
	ours, peer := pair(t)
	request, answer := make([]byte, 1<<20), make([]byte, 1<<20)
	rand.Read(request)
	rand.Read(answer)
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(peer)
		got <- b
		peer.Write(answer)
		peer.Close()
	}()
	var out bytes.Buffer
	if err := join(ours, bytes.NewReader(request), &out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, request) {
		t.Error("the peer did not get what was sent")
	}
	if !bytes.Equal(out.Bytes(), answer) {
		t.Error("the answer is not what the peer sent")
	}
}

// The peer ends first, and still gets what we have to say.
func TestJoinPeerFirst(t *testing.T) {
	ours, peer := pair(t)
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	in, input := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- join(ours, in, io.Discard) }()
	if _, err := input.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	input.Close()
	if b, err := io.ReadAll(peer); err != nil || string(b) != "late" {
		t.Errorf("peer read %q, %v", b, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A connection that breaks is the end although input may still come.
func TestJoinBroken(t *testing.T) {
	ours, _ := pair(t)
	if err := ours.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	in, input := io.Pipe()
	defer input.Close()
	err := join(ours, in, io.Discard)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), "receive: ") {
		t.Errorf("join = %v, want the error of receiving", err)
	}
}
