package agent

import (
	"context"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/nitrolab/nitrolab/guest/agent/files"
)

const (
	maxEnv      = 256     // variables a client may set
	maxEnvBytes = 1 << 17 // their names and values together
)

// A session is one "session" channel: set up by requests, then one job. All fields
// belong to the goroutine of serve.
type session struct {
	cfg *Config
	ch  ssh.Channel

	env      []string
	envBytes int
	pty      *ptyRequest // nil without a terminal

	job job // nil until it was started
}

// A job is what a session is for: a program, or the copy of a file.
type job interface {
	// run does it, over ch, and then closes over's channel. It is called once.
	run(ch ssh.Channel)
	over() <-chan struct{}
	// kill makes run return soon.
	kill()
	// finish waits, after over, for what goes on until both sides have closed
	// the channel.
	finish()
	// exit is how it ended, valid after over: by a signal if that is not "".
	exit() (status int, signal string)
}

func newSession(cfg *Config, ch ssh.Channel) *session { return &session{cfg: cfg, ch: ch} }

// serve serves the channel until both sides have closed it, or the connection
// ended. Then the program has ended, if need be by being killed.
func (s *session) serve(ctx context.Context, requests <-chan *ssh.Request) {
	s.handleAll(ctx, requests)
	if s.job != nil {
		s.job.kill()
	}
	s.ch.Close()
	if s.job != nil {
		<-s.job.over() // after Close, which ends a write that the client does not take
	}
	// The session counts until the client has closed it too: else one that never
	// does could pile up channels without limit.
	ssh.DiscardRequests(requests)
	if s.job != nil {
		s.job.finish()
	}
}

// handleAll handles requests until the client closes the channel, the job has
// ended or ctx ends.
func (s *session) handleAll(ctx context.Context, requests <-chan *ssh.Request) {
	var done <-chan struct{} // nil, which blocks, until there is a job
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
			if s.job != nil && done == nil {
				// Only after the reply, or the output could come before it; and
				// in any case, since serve waits for it to be done.
				go s.job.run(s.ch)
				done = s.job.over()
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
	case "subsystem":
		var msg struct{ Name string }
		return ssh.Unmarshal(req.Payload, &msg) == nil && msg.Name == files.Subsystem && s.startTransfer()
	case "window-change":
		var size windowSize
		proc, ok := s.job.(*process)
		return ok && ssh.Unmarshal(req.Payload, &size) == nil && proc.resize(size)
	case "signal":
		var msg struct{ Name string }
		proc, ok := s.job.(*process)
		return ok && ssh.Unmarshal(req.Payload, &msg) == nil && proc.signal(msg.Name)
	}
	return false
}

func (s *session) setEnv(payload []byte) bool {
	var msg struct{ Name, Value string }
	if ssh.Unmarshal(payload, &msg) != nil || s.job != nil {
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
	if ssh.Unmarshal(payload, &p) != nil || s.job != nil || s.pty != nil {
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
	if s.job != nil {
		return false
	}
	cmd.Env = append(append([]string{}, s.cfg.Env...), s.env...)
	cmd.Dir = "/"
	if s.pty != nil {
		cmd.Env = append(cmd.Env, "TERM="+s.pty.Term)
	}
	s.job = newProcess(cmd, s.ch, s.pty)
	return true
}

// startTransfer copies a file.
func (s *session) startTransfer() bool {
	if s.job != nil || s.pty != nil {
		return false
	}
	s.job = &transfer{done: make(chan struct{})}
	return true
}

// sendExit reports how the job ended (RFC 4254 section 6.10). An error
// means that nobody is there to be told.
func (s *session) sendExit() {
	_ = s.ch.CloseWrite()
	status, signal := s.job.exit()
	if signal != "" {
		_, _ = s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name     string
			Core     bool
			Message  string
			Language string
		}{Name: signal}))
		return
	}
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
}
