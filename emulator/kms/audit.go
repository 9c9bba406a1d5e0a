package kms

import (
	"slices"
	"strconv"
	"sync"
)

// MaxEvents is how many events a Service keeps; of more the oldest are forgotten.
// Config.Audit sees them all.
const MaxEvents = 1024

func pcrMember(i uint) string {
	if i == 0 {
		return "attestationDocumentEnclaveImageDigest"
	}
	return "attestationDocumentEnclavePCR" + strconv.FormatUint(uint64(i), 10)
}

// An audit log keeps the last MaxEvents events.
type audit struct {
	mu     sync.Mutex
	ring   []Event // once full, the oldest is at next
	next   int
	listen func(Event) // called with mu held: one at a time, in the order of the log
}

func (a *audit) add(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.ring) < MaxEvents {
		a.ring = append(a.ring, e)
	} else {
		a.ring[a.next] = e
		a.next = (a.next + 1) % MaxEvents
	}
	if a.listen != nil {
		a.listen(e)
	}
}

// Events gives the last MaxEvents events, oldest first; the caller does not modify
// what they point to. An event is there before its request is answered.
func (s *Service) Events() []Event {
	s.audit.mu.Lock()
	defer s.audit.mu.Unlock()
	return slices.Concat(s.audit.ring[s.audit.next:], s.audit.ring[:s.audit.next])
}
