package protocol

import (
	"fmt"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// Verify is this project's own verifier with what the request asks for. Nil
// accepts the document; an error refuses it, or the call, if a root or a policy
// is missing.
func Verify(r Request) error {
	opts, err := r.options()
	if err != nil {
		return fmt.Errorf("request %d: %w", r.ID, err)
	}
	_, err = attestation.Verify(r.Document, opts)
	return err
}

func (r Request) options() (attestation.Options, error) {
	opts := attestation.Options{
		PCRs:      make(map[uint][]byte, len(r.PCRs)),
		Nonce:     r.Nonce,
		UserData:  r.UserData,
		PublicKey: r.PublicKey,
		MaxAge:    time.Duration(r.MaxAgeSeconds) * time.Second,
		Time:      r.Time,
	}
	if r.Archive {
		opts.Time, opts.AtDocumentTime = time.Time{}, true
	}
	for i, value := range r.PCRs {
		opts.PCRs[i] = value
	}
	for i, text := range r.Roots {
		roots, err := attestation.ParseRoots([]byte(text))
		if err != nil {
			return opts, fmt.Errorf("root %d: %w", i, err)
		}
		opts.Roots = append(opts.Roots, roots...)
	}
	return opts, nil
}
