package agent

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/nitrolab/nitrolab/guest/agent/files"
)

// FuzzRequests sends any requests to a session that has not started a program.
// None may be accepted that would make a broken environment or terminal.
func FuzzRequests(f *testing.F) {
	f.Add("env", ssh.Marshal(struct{ N, V string }{"A", "1"}))
	f.Add("pty-req", ssh.Marshal(ptyRequest{Term: "vt100", Columns: 80, Rows: 24, Modes: "\x00"}))
	f.Add("window-change", ssh.Marshal(windowSize{1, 2, 3, 4}))
	f.Add("signal", ssh.Marshal(struct{ N string }{"TERM"}))
	f.Add("subsystem", ssh.Marshal(struct{ N string }{files.Subsystem}))
	f.Add("subsystem", ssh.Marshal(struct{ N string }{"sftp"}))
	f.Add("env", []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		if kind == "exec" || kind == "shell" {
			return // these run programs
		}
		s := newSession(&Config{}, nil)
		accepted := s.handle(&ssh.Request{Type: kind, Payload: payload})
		for _, v := range s.env {
			if strings.IndexByte(v, '=') <= 0 || strings.ContainsRune(v, 0) {
				t.Fatalf("variable %q", v)
			}
		}
		if s.pty != nil && strings.ContainsRune(s.pty.Term, 0) {
			t.Fatalf("terminal %q", s.pty.Term)
		}
		if accepted && s.env == nil && s.pty == nil && s.job == nil {
			t.Fatalf("%q was accepted and had no effect", kind)
		}
	})
}
