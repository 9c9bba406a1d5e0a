package run

import (
	"fmt"
	"sync"
)

// stillborn is how many processes may fail before any gave a reply. A verifier
// that crashes at every other case is a finding; one that never says a word is
// not one, or not the program that was meant.
const stillborn = 8

// A DeadError says that the command never gave a reply in the protocol.
type DeadError struct {
	Times int
	Last  string // what was found the last time
}

func (e *DeadError) Error() string {
	return fmt.Sprintf("the verifier was started %d times and never gave a reply: %s", e.Times, e.Last)
}

// deaths counts, for all workers, processes that failed.
type deaths struct {
	mu    sync.Mutex
	alive bool // one has given a reply
	count int
}

func (d *deaths) answered() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.alive = true
}

// died gives an error when it is no use to go on. The number of restarts is
// bounded after that too: each costs a case.
func (d *deaths) died(why string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if d.alive || d.count < stillborn {
		return nil
	}
	return &DeadError{d.count, why}
}
