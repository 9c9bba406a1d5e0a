package qmp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const testGreeting = `{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}, "package": "Debian"}, "capabilities": ["oob"]}}` + "\r\n"

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// A peer plays QEMU on the other end of a socketpair.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
	r    *bufio.Reader
}

// newPeer returns a client that is not connected yet and its peer.
func newPeer(t *testing.T, cfg *Config) (*Client, *peer) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewFile(os.NewFile(uintptr(fds[0]), "client"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "peer")
	conn, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn.(*net.UnixConn), r: bufio.NewReader(conn)}
	t.Cleanup(func() {
		_ = p.conn.Close()
		_ = c.Close()
	})
	return c, p
}

// connected returns a client past negotiation.
func connected(t *testing.T, cfg *Config) (*Client, *peer) {
	t.Helper()
	c, p := newPeer(t, cfg)
	go p.negotiate("")
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	return c, p
}

// negotiate plays the start; between is sent before the reply to
// qmp_capabilities.
func (p *peer) negotiate(between string) {
	p.send(testGreeting)
	cmd, ok := p.next()
	if !ok || cmd.Execute != "qmp_capabilities" {
		p.t.Errorf("first command is %q, want qmp_capabilities", cmd.Execute)
	}
	p.send(between)
	p.answer(cmd, `{}`)
}

func (p *peer) send(s string) {
	if _, err := p.conn.Write([]byte(s)); err != nil {
		p.t.Logf("peer: %v", err)
	}
}

func (p *peer) answer(cmd peerCommand, value string) {
	p.send(fmt.Sprintf(`{"return": %s, "id": %s}`+"\r\n", value, cmd.ID))
}

type peerCommand struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        json.RawMessage `json:"id"`
}

// next reads one command; ok is false at the end.
func (p *peer) next() (cmd peerCommand, ok bool) {
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := p.r.ReadBytes('\n')
	if err != nil {
		return cmd, false
	}
	if err := json.Unmarshal(line, &cmd); err != nil {
		p.t.Errorf("client sent %q: %v", line, err)
		return cmd, false
	}
	return cmd, true
}
