package harness_test

import (
	"crypto/rand"
	"crypto/x509"
	"math"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/harness"
)

// document makes one as the enclave of some other Host would.
func document(t *testing.T, pcr0 byte, nonce string) (root *x509.Certificate, raw []byte) {
	t.Helper()
	a, err := attestation.NewAuthority(attestation.Config{Clock: time.Now, Entropy: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	const slot = 0x0199000000000000
	id := attestation.EnclaveID{InstanceID: "i-0123456789abcdef0", SlotUID: slot, Region: "us-east-1"}
	id.ModuleID = attestation.ModuleID(id.InstanceID, id.SlotUID)
	issuer, err := a.Enclave(id)
	if err != nil {
		t.Fatal(err)
	}
	pcrs := map[uint][]byte{}
	for i := range uint(16) {
		pcrs[i] = make([]byte, 48)
	}
	for i := range uint(3) {
		pcrs[i][0] = pcr0
	}
	raw, err = issuer.Document(attestation.Claims{PCRs: pcrs, Nonce: []byte(nonce)})
	if err != nil {
		t.Fatal(err)
	}
	return a.Root(), raw
}

// A document that is refused fails the test, which says what was looked at.
func TestRefusedDocumentFails(t *testing.T) {
	root, raw := document(t, 7, "fresh")
	roots := []*x509.Certificate{root}
	flipped := append([]byte{}, raw...)
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name string
		raw  []byte
		opts attestation.Options
		says []string
	}{
		{"root of another host", raw, attestation.Options{NoPCRPolicy: true, Nonce: []byte("fresh")},
			[]string{"document refused", "chain       FAIL"}},
		{"other nonce", raw, attestation.Options{Roots: roots, NoPCRPolicy: true, Nonce: []byte("other")},
			[]string{"document refused", "nonce       FAIL", "signature   ok"}},
		{"other PCR", raw, attestation.Options{Roots: roots, PCRs: map[uint][]byte{0: make([]byte, 48)}},
			[]string{"document refused", "PCR0        FAIL"}},
		{"flipped bit", flipped, attestation.Options{Roots: roots, NoPCRPolicy: true},
			[]string{"document refused", "signature   FAIL"}},
		{"an hour too late", raw, attestation.Options{Roots: roots, NoPCRPolicy: true, Time: time.Now().Add(4 * time.Hour)},
			[]string{"document refused", "validity    FAIL"}},
		{"no document", []byte("junk"), attestation.Options{Roots: roots, NoPCRPolicy: true},
			[]string{"document refused", "format      FAIL"}},
		{"no policy", raw, attestation.Options{Roots: roots},
			[]string{"document refused"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			after := false
			record(t, "TestFakeVerify", func(tb testing.TB) {
				fakeHost(tb).MustVerify(tb, tt.raw, tt.opts)
				after = true
			}).mustFail(t, tt.says...)
			if after {
				t.Error("the test went on")
			}
		})
	}
	record(t, "TestFakeVerify", func(tb testing.TB) {
		doc := fakeHost(tb).MustVerify(tb, raw, attestation.Options{Roots: roots, NoPCRPolicy: true, Nonce: []byte("fresh")})
		if doc.ModuleID != "i-0123456789abcdef0-enc0199000000000000" {
			tb.Errorf("module id %s", doc.ModuleID)
		}
	}).mustPass(t)
}

// A weakened Host says so loudly, and verifies without that protection and only
// that.
func TestWeakenedHost(t *testing.T) {
	root, debug := document(t, 0, "fresh")
	opts := attestation.Options{Roots: []*x509.Certificate{root}, NoPCRPolicy: true}
	off := weaken.Only(weaken.ZeroPCR)
	record(t, "TestFakeWeak", func(tb testing.TB) {
		fakeHost(tb, harness.Weaken(off)).MustVerify(tb, debug, opts)
	}).mustPass(t, "PROTECTION OFF: "+string(weaken.ZeroPCR))

	other := weaken.Only(weaken.EnclaveIsolation)
	r := record(t, "TestFakeWeak", func(tb testing.TB) {
		fakeHost(tb, harness.Weaken(other)).MustVerify(tb, debug, opts)
	})
	r.mustFail(t, "debug       FAIL", "PROTECTION OFF: "+string(weaken.EnclaveIsolation))

	r = record(t, "TestFakeStrong", func(tb testing.TB) { fakeHost(tb).MustVerify(tb, debug, opts) })
	r.mustFail(t, "debug       FAIL")
	if strings.Contains(r.text(), "PROTECTION OFF") {
		t.Errorf("a protection is off:\n%s", r.text())
	}
}

// Equal entropy and clock make the same Host, and anything else another.
func TestSameEntropySameHost(t *testing.T) {
	clock := func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }
	host := func(seed byte, more ...harness.HostOption) *harness.Host {
		t.Helper()
		return fakeHost(t, append(more, harness.Entropy(entropy(seed)), harness.Clock(clock))...)
	}
	one, same, other := host(1), host(1), host(2)
	if string(one.RootPEM()) != string(same.RootPEM()) || one.InstanceID() != same.InstanceID() {
		t.Errorf("two Hosts of the same entropy: %s and %s, roots\n%s%s", one.InstanceID(), same.InstanceID(), one.RootPEM(), same.RootPEM())
	}
	if one.Root().Equal(other.Root()) || one.InstanceID() == other.InstanceID() {
		t.Errorf("two Hosts of different entropy: %s and %s", one.InstanceID(), other.InstanceID())
	}
	if fakeHost(t).Root().Equal(fakeHost(t).Root()) {
		t.Error("two Hosts of the machine's entropy have one root")
	}
	if root := one.Root(); strings.Contains(root.Subject.String(), "Amazon") || !strings.Contains(root.Subject.String(), "not AWS") {
		t.Errorf("root is of %s, want a name that says it is not AWS's", root.Subject)
	}
	aws := host(1, harness.Names(attestation.NamesAWS))
	if got := aws.Root().Subject.CommonName; got != "aws.nitro-enclaves" {
		t.Errorf("with AWS's names the root is of %s", got)
	}
}

// entropy is a source that repeats itself for the same seed.
func entropy(seed byte) *mathrand.ChaCha8 { return mathrand.NewChaCha8([32]byte{seed}) }

// Entropy that fails is the Host's error, not a weak Host.
func TestEntropyEnds(t *testing.T) {
	record(t, "TestFakeEntropy", func(tb testing.TB) {
		fakeHost(tb, harness.Entropy(strings.NewReader("too little")))
	}).mustFail(t, "harness: new host: draw host identity: ")
}

// Deadlines grow with NITROLAB_TIMEOUT_SCALE, and by 4 under TCG.
func TestTimeout(t *testing.T) {
	for scale, want := range map[string]time.Duration{"": 4 * time.Second, "2.5": 10 * time.Second} {
		t.Setenv("NITROLAB_TIMEOUT_SCALE", scale)
		if got := fakeHost(t).Timeout(time.Second); math.Abs(float64(got-want)) > 1 {
			t.Errorf("scale %q: a second becomes %v, want %v", scale, got, want)
		}
	}
}
