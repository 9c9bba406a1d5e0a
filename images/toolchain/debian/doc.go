// Package debian gets packages from a Debian archive into a private folder,
// without root and without touching the machine's own package database.
//
// The machine's apt does what it is good at: fetching through whatever proxy the
// machine has, checking signatures and hashes, resolving dependencies. It runs
// with a configuration, a state and a cache of its own ([Archive]), so it needs no
// rights and leaves nothing behind. Where the archive is comes from the
// machine's own apt sources ([ReadHost]).
//
// Nothing here trusts the archive's address: every index must be signed by a key
// in the Debian archive keyring, and every package must have the hash that a
// signed index gives.
package debian

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNoApt says that this machine has no apt to fetch with.
	ErrNoApt = errors.New("no apt on this machine")
	// ErrNoKeyring says that there is no keyring to check signatures with.
	ErrNoKeyring = errors.New("no Debian archive keyring")
	// ErrUnreachable says that the archive could not be talked to.
	ErrUnreachable = errors.New("archive not reachable")
	// ErrNotThere says that the archive has no such suite or package.
	ErrNotThere = errors.New("not in the archive")
	// ErrSignature says that a signature is missing, or by an unknown key.
	ErrSignature = errors.New("signature not accepted")
	// ErrNoSpace says that the disk is full.
	ErrNoSpace = errors.New("no space left on the disk")
	// ErrDamaged says that a package does not have the hash that it should.
	ErrDamaged = errors.New("package is damaged")
)

// A ToolError is a failed run of one of apt's tools. It wraps one of the errors
// above where the tool's messages say which.
type ToolError struct {
	Tool     string   // "apt-get update"
	Messages []string // what it complained of, without the leading "E: "
	Kind     error    // one of the errors above, or nil
	Err      error    // from running it
}

// Error gives the first complaint, or for a signature the one that names the key.
func (e *ToolError) Error() string {
	msg := e.Err.Error()
	if len(e.Messages) > 0 {
		msg = e.Messages[0]
	}
	for _, m := range e.Messages {
		if errors.Is(e.Kind, ErrSignature) && strings.HasPrefix(m, "GPG error") {
			msg = m
		}
	}
	if e.Kind != nil {
		return fmt.Sprintf("%s: %v: %s", e.Tool, e.Kind, msg)
	}
	return fmt.Sprintf("%s: %s", e.Tool, msg)
}

// Unwrap gives the kind and the cause.
func (e *ToolError) Unwrap() []error {
	if e.Kind == nil {
		return []error{e.Err}
	}
	return []error{e.Kind, e.Err}
}

// complaints maps words of apt's messages (in the C locale) to what they mean.
// The first that occurs decides: a full disk also makes downloads fail.
var complaints = []struct {
	words string
	kind  error
}{
	{"No space left on device", ErrNoSpace},
	{"Disk quota exceeded", ErrNoSpace},
	{"You don't have enough free space", ErrNoSpace},
	{"NO_PUBKEY", ErrSignature},
	{"signatures couldn't be verified", ErrSignature},
	{"signatures were invalid", ErrSignature},
	{"is not signed", ErrSignature},
	{"cannot be authenticated", ErrSignature},
	{"Missing key", ErrSignature}, // sqv, apt 2.9 and later
	{"does not have a Release file", ErrNotThere},
	{"no longer has a Release file", ErrNotThere},
	{"Unable to locate package", ErrNotThere},
	{"was not found", ErrNotThere},
	{"has no installation candidate", ErrNotThere},
	{"404  Not Found", ErrNotThere},
	{"410  Gone", ErrNotThere},
	{"Could not resolve", ErrUnreachable},
	{"Temporary failure resolving", ErrUnreachable},
	{"Could not connect", ErrUnreachable},
	{"Cannot initiate the connection", ErrUnreachable},
	{"Unable to connect", ErrUnreachable},
	{"Connection failed", ErrUnreachable},
	{"Connection timed out", ErrUnreachable},
	{"connection timed out", ErrUnreachable},
	{"Connection refused", ErrUnreachable},
	{"Network is unreachable", ErrUnreachable},
	{"Failed to fetch", ErrUnreachable},
	{"Some index files failed to download", ErrUnreachable},
	{"Hash Sum mismatch", ErrDamaged},
}

// kindOf gives the meaning of apt's messages, nil if they are none that is known.
func kindOf(messages []string) error {
	all := strings.Join(messages, "\n")
	for _, c := range complaints {
		if strings.Contains(all, c.words) {
			return c.kind
		}
	}
	return nil
}
