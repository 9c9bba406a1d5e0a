package keys

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"
)

// t0 is when test rings begin; it has more than milliseconds.
var t0 = time.Date(2026, time.November, 23, 9, 51, 41, 250_123_456, time.UTC)

const (
	testRegion  = "us-east-1"
	testAccount = "111122223333"
	noSuchKey   = "01234567-89ab-4def-8123-456789abcdef"
)

// A fakeClock stands still until a test moves it.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A stream is entropy that is the same in every run, and does not end.
type stream struct {
	seed byte
	n    uint64
}

func (s *stream) Read(b []byte) (int, error) {
	for i := 0; i < len(b); s.n++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint64([]byte{s.seed}, s.n))
		i += copy(b[i:], block[:])
	}
	return len(b), nil
}

func newTestRing(tb testing.TB) (*Ring, *fakeClock) {
	tb.Helper()
	return openTestRing(tb, "", &fakeClock{now: t0})
}

func openTestRing(tb testing.TB, path string, clock *fakeClock) (*Ring, *fakeClock) {
	tb.Helper()
	r, err := New(Config{Region: testRegion, Account: testAccount, Clock: clock.Now, Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r, clock
}

// sharedRSA is the material of every RSA_2048 key that create makes: whoever wants
// one of its own waits for Ring.Create.
var sharedRSA = sync.OnceValue(func() *material {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	m := &material{}
	if err = errors.Join(err, m.hold(pair)); err != nil {
		panic(err)
	}
	return m
})

func create(tb testing.TB, r *Ring, spec Spec, usage Usage) *Key {
	tb.Helper()
	if spec == RSA2048 {
		k := create(tb, r, Symmetric, "").clone()
		k.Spec, k.Usage, k.MaterialID, k.Materials = spec, usage, "", nil
		r.write.Lock()
		defer r.write.Unlock()
		must(tb, r.commit(change{put: []*entry{{key: k, materials: []*material{sharedRSA()}}}}))
		return k
	}
	k, err := r.Create(Description{Spec: spec, Usage: usage})
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func got[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		must(tb, err)
		return v
	}
}

// wantErr checks the exception; nil means success.
func wantErr(tb testing.TB, err, want error) {
	tb.Helper()
	switch {
	case want == nil && err != nil:
		tb.Fatalf("error %v, want none", err)
	case want != nil && !errors.Is(err, want):
		tb.Fatalf("error %v, want %v", err, want)
	}
}

// specs has one key pair of each kind, for what does not depend on the size of RSA.
var specs = []struct {
	spec  Spec
	usage Usage
}{
	{Symmetric, EncryptDecrypt},
	{RSA2048, EncryptDecrypt},
	{RSA2048, SignVerify},
	{ECCP256, SignVerify},
	{ECCP384, SignVerify},
	{ECCP521, SignVerify},
	{ECCP256, KeyAgreement},
	{ECCP384, KeyAgreement},
	{ECCP521, KeyAgreement},
	{HMAC224, GenerateVerifyMAC},
	{HMAC256, GenerateVerifyMAC},
	{HMAC384, GenerateVerifyMAC},
	{HMAC512, GenerateVerifyMAC},
}
