// Package nsm is a client of the Nitro Secure Module for programs inside an
// enclave: the seven operations over /dev/nsm, on Nitro and on nitrolab alike.
//
// What the module refuses is a [wire.ErrorCode] in the error; what the driver
// refuses is a [syscall.Errno]. Both work with errors.Is.
package nsm

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// A Transport takes one request to a module and brings the reply back, both as
// CBOR. The device file is one; a module in the same process and a pipe to
// another machine are others.
type Transport interface {
	// Raw does not keep req; the reply is the caller's. An error wraps the
	// driver's [syscall.Errno] if it is the driver's.
	Raw(req []byte) (reply []byte, err error)
}

// A TransportFunc is a function as a Transport.
type TransportFunc func(req []byte) ([]byte, error)

// Raw calls f.
func (f TransportFunc) Raw(req []byte) ([]byte, error) { return f(req) }

// A Session talks to one module. It is safe for concurrent use if its transport
// is; that of [Open] is, and requests take turns in the driver.
type Session struct {
	t      Transport
	closer io.Closer // nil if the caller owns the transport
}

var _ io.ReadCloser = (*Session)(nil)

// New is a session over t, which stays the caller's to close.
func New(t Transport) *Session { return &Session{t: t} }

// Close closes the device that [Open] opened. A request under way goes on to its
// end, for which the driver waits two minutes at most.
func (s *Session) Close() error {
	if s.closer == nil {
		return nil
	}
	return s.closer.Close()
}

// Raw sends the bytes of req as they are and returns the reply, whatever it
// says. The driver refuses more than [wire.MaxRequest] bytes with EMSGSIZE.
func (s *Session) Raw(req []byte) ([]byte, error) { return s.t.Raw(req) }

// DescribeNSM says what the module is.
func (s *Session) DescribeNSM() (wire.DescribeNSMResponse, error) {
	return call[wire.DescribeNSMResponse](s, wire.DescribeNSM{})
}

// DescribePCR is the value and the lock of one PCR.
func (s *Session) DescribePCR(index uint16) (wire.DescribePCRResponse, error) {
	return call[wire.DescribePCRResponse](s, wire.DescribePCR{Index: index})
}

// ExtendPCR extends one PCR by data and returns its new value.
func (s *Session) ExtendPCR(index uint16, data []byte) (wire.PCR, error) {
	r, err := call[wire.ExtendPCRResponse](s, wire.ExtendPCR{Index: index, Data: data})
	return r.Data, err
}

// LockPCR makes one PCR read-only until the enclave ends.
func (s *Session) LockPCR(index uint16) error {
	_, err := call[wire.LockPCRResponse](s, wire.LockPCR{Index: index})
	return err
}

// LockPCRs makes the PCRs 0 to n-1 read-only until the enclave ends.
func (s *Session) LockPCRs(n uint16) error {
	_, err := call[wire.LockPCRsResponse](s, wire.LockPCRs{Range: n})
	return err
}

// Attest is a signed document over the locked PCRs and the fields of r: an
// untagged COSE_Sign1.
func (s *Session) Attest(r wire.Attestation) ([]byte, error) {
	a, err := call[wire.AttestationResponse](s, r)
	return a.Document, err
}

// GetRandom is entropy of the module, [wire.RandomSize] bytes of it on Nitro.
func (s *Session) GetRandom() ([]byte, error) {
	r, err := call[wire.GetRandomResponse](s, wire.GetRandom{})
	return r.Random, err
}

// Read fills p with entropy, in as many requests as it takes. It fails if the
// module does, and then n bytes of p are entropy.
func (s *Session) Read(p []byte) (n int, err error) {
	for n < len(p) {
		random, err := s.GetRandom()
		if err != nil {
			return n, err
		}
		if len(random) == 0 {
			return n, fmt.Errorf("nsm GetRandom: %w", io.ErrNoProgress)
		}
		n += copy(p[n:], random)
	}
	return n, nil
}

// call sends one request and returns its reply, which must be an R.
func call[R wire.Response](s *Session, r wire.Request) (reply R, err error) {
	req, err := wire.AppendRequest(nil, r)
	if err != nil {
		return reply, fmt.Errorf("nsm: %w", err)
	}
	b, err := s.t.Raw(req)
	if errors.Is(err, syscall.EMSGSIZE) {
		// What nsm-lib makes of it; the module would say the same.
		err = fmt.Errorf("%w (request of %d bytes: %w)", wire.InputTooLarge, len(req), err)
	}
	if err != nil {
		return reply, fmt.Errorf("nsm %s: %w", r.Name(), err)
	}
	got, err := wire.DecodeResponse(b)
	if err != nil {
		return reply, fmt.Errorf("nsm %s: %w", r.Name(), err)
	}
	reply, ok := got.(R)
	if !ok {
		return reply, fmt.Errorf("nsm %s: the reply is one to %s: %w", r.Name(), got.Name(), wire.InvalidResponse)
	}
	return reply, nil
}
