package agent

import (
	"golang.org/x/crypto/ssh"

	"github.com/nitrolab/nitrolab/guest/agent/files"
)

// A transfer is the copy of one file.
type transfer struct {
	done   chan struct{} // closed when status is set and nothing runs
	status int
}

func (t *transfer) run(ch ssh.Channel) {
	defer close(t.done)
	if err := files.Serve(ch); err != nil {
		t.status = 1
	}
}

func (t *transfer) over() <-chan struct{}             { return t.done }
func (t *transfer) exit() (status int, signal string) { return t.status, "" }

// kill and finish have nothing to do: a transfer reads and writes the channel and
// files that do not block, and ends with the channel.
func (t *transfer) kill()   {}
func (t *transfer) finish() {}
