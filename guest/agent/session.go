package agent

import (
	"context"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	maxEnv      = 256     // variables a client may set
	maxEnvBytes = 1 << 17 // their names and values together
)

// A session is one "session" channel: set up by requests, then one program.
// All fields belong to the goroutine of serve.
type session struct {
	cfg *Config
	ch  ssh.Channel

	env      []string
	envBytes int
	pty      *ptyRequest // nil without a terminal

	proc *process // nil until the program was started
}

func newSession(cfg *Config, ch ssh.Channel) *session { return &session{cfg: cfg, ch: ch} }

// serve serves the channel until both sides have closed it, or the connection
// ended. Then the program has ended, if need be by being killed.
func (s *session) serve(ctx context.Context, requests <-chan *ssh.Request) {
	s.handleAll(ctx, requests)
	if s.proc != nil {
		s.proc.kill()
	}
	s.ch.Close()
	if s.proc != nil {
		<-s.proc.done // after Close, which ends a write that the client does not take
	}
	// The session counts until the client has closed it too: else one that never
	// does could pile up channels without limit.
	ssh.DiscardRequests(requests)
	if s.proc != nil {
		s.proc.input.Wait()
	}
}

// handleAll handles requests until the client closes the channel, the program
// has ended or ctx ends.
func (s *session) handleAll(ctx context.Context, requests <-chan *ssh.Request) {
	var done <-chan struct{} // nil, which blocks, until there is a program
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
			s.sendExit()
			return
		case req, ok := <-requests:
			if !ok {
				return
			}
			accepted := s.handle(req)
			var err error
			if req.WantReply {
				err = req.Reply(accepted, nil)
			}
			if s.proc != nil && done == nil {
				// Only after the reply, or the output could come before it; and
				// in any case, since serve waits for it to be done.
				go s.proc.run(s.ch)
				done = s.proc.done
			}
			if err != nil {
				return
			}
		}
	}
}

// handle does what req asks for and reports whether it was accepted.
func (s *session) handle(req *ssh.Request) bool {
	switch req.Type {
	case "env":
		return s.setEnv(req.Payload)
	case "pty-req":
		return s.requestPty(req.Payload)
	case "exec":
		var msg struct{ Command string }
		return ssh.Unmarshal(req.Payload, &msg) == nil && s.start(s.execCommand(msg.Command))
	case "shell":
		return len(req.Payload) == 0 && s.start(exec.Command(s.cfg.Shell, "-l"))
	case "window-change":
		var size windowSize
		return ssh.Unmarshal(req.Payload, &size) == nil && s.proc != nil && s.proc.resize(size)
	case "signal":
		var msg struct{ Name string }
		return ssh.Unmarshal(req.Payload, &msg) == nil && s.proc != nil && s.proc.signal(msg.Name)
	}
	return false
}

func (s *session) setEnv(payload []byte) bool {
	var msg struct{ Name, Value string }
	if ssh.Unmarshal(payload, &msg) != nil || s.proc != nil {
		return false
	}
	if msg.Name == "" || strings.ContainsAny(msg.Name, "=\x00") || strings.ContainsRune(msg.Value, 0) {
		return false
	}
	s.envBytes += len(msg.Name) + len(msg.Value)
	if len(s.env) >= maxEnv || s.envBytes > maxEnvBytes {
		return false
	}
	s.env = append(s.env, msg.Name+"="+msg.Value)
	return true
}

func (s *session) requestPty(payload []byte) bool {
	var p ptyRequest
	if ssh.Unmarshal(payload, &p) != nil || s.proc != nil || s.pty != nil {
		return false
	}
	if strings.ContainsRune(p.Term, 0) || len(p.Term) > 256 {
		return false
	}
	s.pty = &p
	return true
}

// execCommand interprets a command line with the shell, if there is one.
func (s *session) execCommand(line string) *exec.Cmd {
	if _, err := exec.LookPath(s.cfg.Shell); err == nil {
		return exec.Command(s.cfg.Shell, "-c", line)
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		words = []string{""}
	}
	return exec.Command(words[0], words[1:]...)
}

// start runs cmd. A program that cannot be started is one that ended with
// status 127 and the reason on standard error, as a shell has it.
func (s *session) start(cmd *exec.Cmd) bool {
	if s.proc != nil {
		return false
	}
	cmd.Env = append(append([]string{}, s.cfg.Env...), s.env...)
	cmd.Dir = "/"
	if s.pty != nil {
		cmd.Env = append(cmd.Env, "TERM="+s.pty.Term)
	}
	s.proc = newProcess(cmd, s.ch, s.pty)
	return true
}

// sendExit reports how the program ended (RFC 4254 section 6.10). An error
// means that nobody is there to be told.
func (s *session) sendExit() {
	_ = s.ch.CloseWrite()
	if name := s.proc.exitSignal; name != "" {
		_, _ = s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name     string
			Core     bool
			Message  string
			Language string
		}{Name: name}))
		return
	}
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(s.proc.exitCode)}))
}
