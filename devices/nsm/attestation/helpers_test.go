package attestation

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"io"
	"sync"
	"testing"
	"time"
)

// t0 is the time at which test documents are made; it has milliseconds.
var t0 = time.Date(2026, time.November, 23, 9, 51, 41, 250_000_000, time.UTC)

var p384 = elliptic.P384()

// fakeClock is a clock that tests set.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newFakeClock() *fakeClock { return &fakeClock{now: t0} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func entropy(b byte) io.Reader { return bytes.NewReader(bytes.Repeat([]byte{b}, SeedSize)) }

func newTestAuthority(t testing.TB, cfg Config) *Authority {
	t.Helper()
	if cfg.Entropy == nil {
		cfg.Entropy = entropy(1)
	}
	if cfg.Clock == nil {
		cfg.Clock = newFakeClock().Now
	}
	a, err := NewAuthority(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var testEnclave = EnclaveID{
	InstanceID: "i-0a1b2c3d4e5f60718",
	SlotUID:    0x0199abcdef012345,
	Region:     "us-east-1",
}

func newTestIssuer(t testing.TB, a *Authority) *Issuer {
	t.Helper()
	i, err := a.Enclave(testEnclave)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func newTestDocument(t testing.TB, i *Issuer, c Claims) []byte {
	t.Helper()
	doc, err := i.Document(c)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// pcr is a register that was extended once.
func pcr(content string) []byte {
	sum := sha512.Sum384(append(make([]byte, pcrSize), content...))
	return sum[:]
}

// registers has PCR0 to PCR15, zero but for the named ones.
func registers(set ...uint) map[uint][]byte {
	pcrs := make(map[uint][]byte)
	for i := range uint(16) {
		pcrs[i] = make([]byte, pcrSize)
	}
	for _, i := range set {
		pcrs[i] = pcr(CheckPCR(i))
	}
	return pcrs
}

// productionPCRs are those of an enclave of an instance with a role, debugPCRs
// those of the same in debug mode (users-and-attacks section 0.2).
func productionPCRs() map[uint][]byte { return registers(0, 1, 2, 3, 4) }
func debugPCRs() map[uint][]byte      { return registers(3, 4) }

// policy is what a careful verifier of productionPCRs expects.
func policy(root *x509.Certificate) Options {
	all := productionPCRs()
	return Options{
		Roots: []*x509.Certificate{root},
		PCRs:  map[uint][]byte{0: all[0], 1: all[1], 2: all[2], 3: all[3], 4: all[4]},
		Time:  t0.Add(time.Second),
	}
}

// failures are the names of the failed checks.
func failures(r *Result) []string {
	var names []string
	for _, c := range r.Checks {
		if c.Status == Failed {
			names = append(names, c.Name)
		}
	}
	return names
}

func check(t testing.TB, r *Result, name string) Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q in the result", name)
	return Check{}
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
