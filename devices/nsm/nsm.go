// Package nsm is the Nitro Secure Module: virtio device 33, which gives an
// enclave its platform configuration registers, signed attestation documents
// over them, and entropy. README.md says what is as on hardware and what had to
// be decided here.
//
// Package wire is the format of its messages, package attestation makes and
// verifies documents, package nsmtest is the conformance suite.
package nsm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"unicode/utf8"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// An Attester makes the signed document of one Attestation request.
type Attester interface {
	// Document is the whole document, an untagged COSE_Sign1 of at most about
	// 12 KiB; the reply around it must fit [wire.MaxResponse]. The device makes
	// one call at a time. The request's fields in c are valid during the call
	// only; the implementation does not change them.
	//
	// An error reaches the enclave as [wire.InternalError], unless it wraps
	// another [wire.ErrorCode].
	Document(c Claims) ([]byte, error)
}

// Claims are what the module vouches for in one document.
type Claims struct {
	ModuleID string
	PCRs     map[uint16]wire.PCR // the PCRs locked at the moment of the request

	// The request's own fields; nil is null, empty is an empty byte string.
	UserData, Nonce, PublicKey []byte
}

// maxModuleID is the room nsm-lib's C structure has for the module id.
const maxModuleID = 100

// A Config describes one module.
type Config struct {
	// ModuleID names the module, "i-<17 hex digits>-enc<16 hex digits>" on
	// Nitro; 1 to 100 bytes of UTF-8.
	ModuleID string

	// Measurements are the PCRs of a production enclave; in debug mode New
	// zeroes those that hardware zeroes.
	Measurements Measurements

	// DebugMode makes it the module of an enclave in debug mode. Locks,
	// signature and chain are the same as in production.
	DebugMode bool

	// Attester makes the documents; required.
	Attester Attester

	// Entropy is the source of GetRandom; nil is crypto/rand. A source that
	// fails, or ends, makes the request fail with [wire.InternalError].
	Entropy io.Reader

	// Log gets one debug line for each request that was refused and each chain
	// that was no request; nil is no log.
	Log *slog.Logger
}

// A Device is one module. It implements [virtio.Device] and is ready as soon as
// New returned: stock kernels ask for entropy while they probe it, long before
// the enclave's heartbeat.
//
// There is no reset: a guest that resets is an enclave that ended. A driver
// that is unloaded and loaded again finds the PCRs as they were.
type Device struct {
	moduleID string
	attester Attester
	log      *slog.Logger

	mu      sync.Mutex // one request at a time; protects the fields below
	bank    Bank
	entropy io.Reader

	// The queue's state belongs to the transport's goroutine for queue 0.
	ring ring
}

var _ virtio.Device = (*Device)(nil)

// New makes a module in the state in which an enclave boots.
func New(cfg Config) (*Device, error) {
	switch {
	case cfg.ModuleID == "" || len(cfg.ModuleID) > maxModuleID || !utf8.ValidString(cfg.ModuleID):
		return nil, fmt.Errorf("nsm module id %q: want 1 to %d bytes of UTF-8", cfg.ModuleID, maxModuleID)
	case cfg.Attester == nil:
		return nil, errors.New("nsm: no attester")
	}
	m := cfg.Measurements
	if cfg.DebugMode {
		m = m.Debug()
	}
	bank, err := m.Bank()
	if err != nil {
		return nil, fmt.Errorf("nsm: %w", err)
	}
	d := &Device{
		moduleID: cfg.ModuleID,
		attester: cfg.Attester,
		log:      cfg.Log,
		bank:     bank,
		entropy:  cfg.Entropy,
	}
	if d.entropy == nil {
		d.entropy = rand.Reader
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

// ModuleID is the name of the module.
func (d *Device) ModuleID() string { return d.moduleID }

// Bank is a snapshot of the PCRs. It waits for a request under way.
func (d *Device) Bank() Bank {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bank
}
