package instance

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nitrolab/nitrolab/guest/instance/control"
)

// stateDir holds what is known of this instance since its last resume. It is in
// memory and gone with the boot.
const (
	stateDir  = "/run/nitrolab"
	stateFile = stateDir + "/instance.json"
)

// bundleFile is where programs look for the certificates they trust, those that
// know Debian's place. The image has links to it from the others.
const bundleFile = "/etc/ssl/certs/ca-certificates.crt"

// A state is the content of stateFile.
type state struct {
	control.Identity
	BootID  string    `json:"bootId"`
	Resumed time.Time `json:"resumed"`
}

// Resume implements [control.Handler]. Randomness comes first: the boot id and the
// SSH host key are drawn from it.
func (a *Agent) Resume(_ context.Context, r *control.Resume) (*control.Ready, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end()
	now := time.Unix(0, r.Time)
	defer clear(r.Seed)
	if err := a.mach.AddEntropy(r.Seed); err != nil {
		return nil, fmt.Errorf("reseed random number generator: %w", err)
	}
	if err := a.mach.SetClock(now); err != nil {
		return nil, fmt.Errorf("set clock: %w", err)
	}
	if err := a.mach.SetHostname(r.Hostname); err != nil {
		return nil, fmt.Errorf("set host name: %w", err)
	}
	ready, err := a.mach.Facts()
	if err != nil {
		return nil, err
	}
	ready.BootID = newUUID()
	content, err := json.Marshal(state{r.Identity, ready.BootID, now.UTC()})
	if err != nil {
		return nil, err
	}
	for _, f := range []struct{ path, content string }{
		{"/etc/hostname", r.Hostname + "\n"},
		{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + r.Hostname + "\n"},
		{bundleFile, string(r.CABundle)},
		{stateFile, string(content) + "\n"},
	} {
		if f.content == "" {
			continue // no certificates: those of the image stay
		}
		if err := a.mach.WriteFile(f.path, []byte(f.content), 0o644); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	if err := a.begin(); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	return &ready, nil
}

// newUUID is a random UUID (RFC 9562 section 5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // ends the process rather than fail
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
