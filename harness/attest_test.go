package harness_test

import (
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/harness"
)

const testRole = "arn:aws:iam::123456789012:role/Webserver"

// extended is a PCR that is zero and was extended once, as AWS documents PCR3 and
// PCR4.
func extended(text string) []byte {
	sum := sha512.Sum384(append(make([]byte, 48), text...))
	return sum[:]
}

// Two enclaves side by side on one Host, one for each encoding that hardware was
// seen to use: both attest, everybody's verifier accepts, and they are two.
func TestSampleAttests(t *testing.T) {
	vm(t, 2)
	host := harness.New(t, harness.Role(testRole))
	image := harness.SampleEIF(t)
	encodings := []attestation.Encoding{attestation.Encoding2021, attestation.Encoding2025}
	enclaves := runBoth(t, host, image, encodings)

	leaves := make([]*x509.Certificate, len(enclaves))
	for i, enclave := range enclaves {
		t.Run(encodings[i].String(), func(t *testing.T) {
			nonce := []byte("nonce for " + enclave.ID())
			raw := enclave.Ask(t, nonce)
			policy := enclave.Policy(nonce)
			policy.PCRs[3] = extended(testRole)
			policy.PCRs[4] = extended(host.InstanceID())
			doc := host.MustVerify(t, raw, policy)

			if doc.Encoding != encodings[i] {
				t.Errorf("encoding is %v, want %v", doc.Encoding, encodings[i])
			}
			if now := time.Now(); doc.Time().After(now) || now.Sub(doc.Time()) > host.Timeout(time.Minute) {
				t.Errorf("document is of %v, now is %v", doc.Time(), now)
			}
			for pcr := range uint(32) {
				if _, ok := doc.PCRs[pcr]; ok != (pcr < 16) {
					t.Errorf("document has PCR%d: %t; want those that are locked at boot, 0 to 15", pcr, ok)
				}
			}
			mustNitrite(t, host.Root(), raw, time.Now(), claimsOf(doc))
			mustVeracruz(t, host.Root(), raw, claimsOf(doc))
			mustES384(t, host.Root(), raw, time.Now())

			// The id inside documents has the leading zero that the one which
			// nitro-cli prints lacks.
			instance, slot, ok := strings.Cut(enclave.ID(), "-enc")
			if want := fmt.Sprintf("%s-enc%016s", instance, slot); !ok || len(slot) != 15 || doc.ModuleID != want || enclave.Info().ModuleID != want {
				t.Errorf("enclave id %s, module id %s in the document and %s in its description; want %s", enclave.ID(), doc.ModuleID, enclave.Info().ModuleID, want)
			}

			// One leaf for all documents of three hours.
			again := host.MustVerify(t, enclave.Ask(t, []byte("again")), enclave.Policy([]byte("again")))
			if diff := cmp.Diff(doc.Certificate, again.Certificate); diff != "" {
				t.Errorf("leaf of the second document (-first +second):\n%s", diff)
			}
			var err error
			if leaves[i], err = x509.ParseCertificate(doc.Certificate); err != nil {
				t.Fatal(err)
			}
		})
	}
	if t.Failed() {
		return
	}
	a, b := enclaves[0], enclaves[1]
	if a.CID() == b.CID() || a.ID() == b.ID() || a.Info().ModuleID == b.Info().ModuleID || a.PID() == b.PID() {
		t.Errorf("two enclaves have something in common:\n%+v\n%+v", a.Info(), b.Info())
	}
	if leaves[0].SerialNumber.Cmp(leaves[1].SerialNumber) == 0 || string(leaves[0].RawSubjectPublicKeyInfo) == string(leaves[1].RawSubjectPublicKeyInfo) {
		t.Error("two enclaves have one leaf")
	}

	// A document of one is none of the other: the nonce ties it to its question.
	if _, err := host.Verify(a.Ask(t, []byte("for a")), b.Policy([]byte("for b"))); !errors.Is(err, attestation.ErrNonce) {
		t.Errorf("document of the other enclave: %v, want a wrong nonce", err)
	}
	_, err := host.TryEnclave(t, image, harness.CID(a.CID()))
	var refused *emulator.RequestError
	if want := fmt.Sprintf("enclave CID is %d, which another enclave has; allowed is one that is free", a.CID()); !errors.As(err, &refused) || err.Error() != want {
		t.Errorf("a CID that is taken: %v, want %s", err, want)
	}
}

// runBoth starts one enclave for each encoding, at the same time.
func runBoth(t *testing.T, host *harness.Host, image string, encodings []attestation.Encoding) []*harness.Enclave {
	t.Helper()
	var enclaves []*harness.Enclave
	for _, e := range encodings {
		enclaves = append(enclaves, host.StartEnclave(t, image, harness.Encoding(e)))
	}
	for _, e := range enclaves {
		e.WaitRunning(t)
	}
	return enclaves
}

// A Host lives in the time it is given. Documents are dated by it, the leaf is
// good for three hours of it, and an equal Host has an equal root.
func TestHostClock(t *testing.T) {
	vm(t, 1)
	start := time.Date(2030, 2, 28, 23, 30, 0, 0, time.UTC)
	var now atomic.Pointer[time.Time]
	now.Store(&start)
	options := func() []harness.HostOption {
		return []harness.HostOption{
			harness.Clock(func() time.Time { return *now.Load() }),
			harness.Entropy(entropy(7)),
		}
	}
	host := harness.New(t, options()...)
	enclave := host.RunEnclave(t, harness.SampleEIF(t))
	if _, slot, _ := strings.Cut(enclave.Info().ModuleID, "-enc"); !strings.HasPrefix(slot, fmt.Sprintf("%012x", start.UnixMilli())) {
		t.Errorf("module id %s does not begin with the Host's time", enclave.Info().ModuleID)
	}

	ask := func(nonce string) (raw []byte, doc *attestation.Document) {
		t.Helper()
		raw = enclave.Ask(t, []byte(nonce))
		return raw, host.MustVerify(t, raw, enclave.Policy([]byte(nonce)))
	}
	first, doc := ask("first")
	if !doc.Time().Equal(start) {
		t.Errorf("document is of %v, want %v", doc.Time(), start)
	}
	mustNitrite(t, host.Root(), first, start, claimsOf(doc))
	mustES384(t, host.Root(), first, start)
	opts := enclave.Policy([]byte("first"))
	opts.Time = time.Now()
	if _, err := host.Verify(first, opts); !errors.Is(err, attestation.ErrNotYetValid) {
		t.Errorf("verified today: %v, want a certificate that is not yet valid", err)
	}
	fakeHost(t, options()...).MustVerify(t, first, enclave.Policy([]byte("first")))

	later := start.Add(3 * time.Hour)
	now.Store(&later)
	second, rotated := ask("second")
	if !rotated.Time().Equal(later) {
		t.Errorf("document is of %v, want %v", rotated.Time(), later)
	}
	if string(rotated.Certificate) == string(doc.Certificate) {
		t.Error("the leaf is the same after three hours")
	}
	mustNitrite(t, host.Root(), second, later, claimsOf(rotated))
	after := later.Add(time.Minute)
	now.Store(&after)
	if _, err := host.Verify(first, enclave.Policy([]byte("first"))); !errors.Is(err, attestation.ErrExpired) {
		t.Errorf("the first document after three hours: %v, want an expired certificate", err)
	}
	// An archive may still be read, at its own time and by its own name.
	opts = enclave.Policy([]byte("first"))
	opts.AtDocumentTime = true
	host.MustVerify(t, first, opts)
}
