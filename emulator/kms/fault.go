package kms

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// FaultKind says what goes wrong.
type FaultKind uint8

const (
	// FaultThrottle answers ThrottlingException, status 400, as KMS does over its
	// request quota.
	FaultThrottle FaultKind = iota + 1

	// FaultInternal answers KMSInternalException, status 500.
	FaultInternal

	// FaultDelay waits Fault.Delay before the request is looked at.
	FaultDelay

	// FaultDrop closes the connection without an answer.
	FaultDrop

	// FaultDeny answers AccessDeniedException whatever the policies say.
	FaultDeny

	// FaultTruncate does the work, announces the whole answer and closes the
	// connection after half of it.
	FaultTruncate

	// FaultPlaintext answers an attested request with the plaintext member and
	// without CiphertextForRecipient, as an emulator does that ignores Recipient.
	FaultPlaintext

	// FaultOtherKey seals the answer to an attested request to an RSA key that
	// nobody has.
	FaultOtherKey
)

var faultNames = [...]string{
	FaultThrottle: "throttle", FaultInternal: "internal", FaultDelay: "delay", FaultDrop: "drop",
	FaultDeny: "deny", FaultTruncate: "truncate", FaultPlaintext: "plaintext", FaultOtherKey: "other key",
}

// String names the kind.
func (k FaultKind) String() string {
	if k == 0 || int(k) >= len(faultNames) {
		return fmt.Sprintf("FaultKind(%d)", uint8(k))
	}
	return faultNames[k]
}

// A Fault makes requests of a [Service] fail, for tests of its clients.
type Fault struct {
	// Kind is required.
	Kind FaultKind

	// Op is the operation that fails, such as Decrypt; empty means any.
	Op string

	// Times is how many requests fail; zero means all until the fault is removed.
	Times int

	// Delay is that of FaultDelay.
	Delay time.Duration
}

// Inject makes requests fail. Of several faults that fit a request the one that
// was injected first takes effect, save that a delay, a failure and a spoilt
// answer can come together. The function it returns takes the fault away again
// and may be called more than once.
//
// It panics if f has no kind, or names an operation that does not exist: a test
// whose fault never comes would pass for the wrong reason.
func (s *Service) Inject(f Fault) (remove func()) {
	if f.Kind == 0 || int(f.Kind) >= len(faultNames) {
		panic("kms: inject: unknown " + f.Kind.String())
	}
	if _, ok := operations[f.Op]; f.Op != "" && !ok {
		panic(fmt.Sprintf("kms: inject: there is no operation %q", f.Op))
	}
	return s.faults.add(f)
}

// faults are those that are injected now, in the order of injection.
type faults struct {
	mu   sync.Mutex
	list []*Fault
}

func (l *faults) add(f Fault) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, &f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.drop(&f)
	}
}

func (l *faults) drop(f *Fault) {
	l.list = slices.DeleteFunc(l.list, func(other *Fault) bool { return other == f })
}

// take gives the fault of one of kinds for one request of op, and counts it.
func (l *faults) take(op string, kinds ...FaultKind) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.list {
		if (f.Op != "" && f.Op != op) || !slices.Contains(kinds, f.Kind) {
			continue
		}
		taken := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				l.drop(f)
			}
		}
		return taken, true
	}
	return Fault{}, false
}
