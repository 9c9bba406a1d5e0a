package qmp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSendFile(t *testing.T) {
	c, p := connected(t, nil)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("handed over"); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		line, oob := make([]byte, 4096), make([]byte, 4096)
		n, oobn, _, _, err := p.conn.ReadMsgUnix(line, oob)
		if err != nil {
			got <- err.Error()
			return
		}
		var cmd peerCommand
		if err := json.Unmarshal(line[:n], &cmd); err != nil {
			got <- err.Error()
			return
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			got <- fmt.Sprintf("control messages: %v %v", msgs, err)
			return
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err != nil || len(fds) != 1 {
			got <- fmt.Sprintf("fds: %v %v", fds, err)
			return
		}
		g := os.NewFile(uintptr(fds[0]), "received")
		defer g.Close()
		b := make([]byte, 64)
		m, _ := g.ReadAt(b, 0)
		p.answer(cmd, "{}")
		got <- string(cmd.Arguments) + " " + string(b[:m])
	}()
	if err := c.SendFile(within(t), "disk", f); err != nil {
		t.Fatal(err)
	}
	if got, want := <-got, `{"fdname":"disk"} handed over`; got != want {
		t.Errorf("peer got %q, want %q", got, want)
	}
}

func TestSendFileRefused(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := New(a, nil)
	defer c.Close()
	go func() {
		_, _ = b.Write([]byte(testGreeting))
		buf := make([]byte, 4096)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			var cmd peerCommand
			if json.Unmarshal(bytes.TrimSpace(buf[:n]), &cmd) == nil {
				_, _ = fmt.Fprintf(b, `{"return": {}, "id": %s}`, cmd.ID)
			}
		}
	}()
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	if err := c.SendFile(within(t), "x", os.Stdin); !errors.Is(err, errNoFiles) {
		t.Errorf("SendFile over a pipe = %v, want %v", err, errNoFiles)
	}
	if err := c.Execute(within(t), "stop", nil, nil); err != nil {
		t.Errorf("connection is not fine after it: %v", err)
	}
}
