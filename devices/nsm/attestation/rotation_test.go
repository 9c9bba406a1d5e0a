package attestation

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pathOf is the chain of a document, leaf first, checked by crypto/x509 at now.
func pathOf(t *testing.T, a *Authority, raw []byte, now time.Time) []*x509.Certificate {
	t.Helper()
	doc, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(a.Root())
	for _, der := range doc.CABundle[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		intermediates.AddCert(c)
	}
	leaf, err := x509.ParseCertificate(doc.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		t.Fatalf("crypto/x509 at %v: %v", now, err)
	}
	if len(chains) != 1 || len(chains[0]) != 5 {
		t.Fatalf("crypto/x509 found %d chains, the first of %d certificates; want 1 of 5", len(chains), len(chains[0]))
	}
	return chains[0]
}

// TestRotation walks a clock and says which certificates are new since the step
// before, leaf to root.
func TestRotation(t *testing.T) {
	const anew = true
	for _, tt := range []struct {
		name   string
		margin time.Duration
		steps  []time.Duration // since t0
		want   [][5]bool
	}{
		{
			name:  "leaf is cached until its last 15 minutes",
			steps: []time.Duration{0, 26 * time.Minute, 2*time.Hour + 44*time.Minute + 59*time.Second, 2*time.Hour + 46*time.Minute},
			want:  [][5]bool{{}, {}, {}, {anew}},
		},
		{
			name:   "margin can be set",
			margin: time.Second,
			steps:  []time.Duration{0, 2*time.Hour + 59*time.Minute + 58*time.Second, 3 * time.Hour},
			want:   [][5]bool{{}, {}, {anew}},
		},
		{
			// The instance certificate ends 23 hours after its issue, so a leaf
			// of 20 hours and a bit later would outlive it.
			name:  "instance",
			steps: []time.Duration{0, 17 * time.Hour, 19*time.Hour + 59*time.Minute, 22*time.Hour + 50*time.Minute},
			want:  [][5]bool{{}, {anew}, {anew}, {anew, anew}},
		},
		{
			name:  "zonal",
			steps: []time.Duration{0, 6 * 24 * time.Hour},
			want:  [][5]bool{{}, {anew, anew, anew}},
		},
		{
			name:  "regional, never the root",
			steps: []time.Duration{0, 20 * 24 * time.Hour, 15 * 365 * 24 * time.Hour},
			want:  [][5]bool{{}, {anew, anew, anew, anew}, {anew, anew, anew, anew}},
		},
		{
			name:  "clock set back a little and far",
			steps: []time.Duration{0, -2 * time.Second, -10 * time.Second, -2 * time.Hour},
			want:  [][5]bool{{}, {}, {anew}, {anew, anew, anew, anew}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := newFakeClock()
			a := newTestAuthority(t, Config{Clock: clock.Now, LeafMargin: tt.margin})
			i := newTestIssuer(t, a)
			var before []*x509.Certificate
			for n, step := range tt.steps {
				now := t0.Add(step)
				clock.Set(now)
				path := pathOf(t, a, newTestDocument(t, i, Claims{PCRs: productionPCRs()}), now)
				var got [5]bool
				for k := range path {
					got[k] = before != nil && !bytes.Equal(path[k].Raw, before[k].Raw)
					// Nothing ends before what it has issued.
					if k > 0 && path[k].NotAfter.Before(path[k-1].NotAfter) {
						t.Errorf("at %v: certificate %d ends before the one below it", step, k)
					}
				}
				if diff := cmp.Diff(tt.want[n], got); diff != "" {
					t.Errorf("at %v: new certificates, leaf first (-want +got):\n%s", step, diff)
				}
				before = path
			}
		})
	}
}

// TestInstanceKeyStays: a new instance certificate has the old key, as two
// genuine documents from one instance show; all other levels get new ones.
func TestInstanceKeyStays(t *testing.T) {
	clock := newFakeClock()
	a := newTestAuthority(t, Config{Clock: clock.Now})
	i := newTestIssuer(t, a)
	first := pathOf(t, a, newTestDocument(t, i, Claims{PCRs: productionPCRs()}), t0)
	later := t0.Add(21 * 24 * time.Hour)
	clock.Set(later)
	second := pathOf(t, a, newTestDocument(t, i, Claims{PCRs: productionPCRs()}), later)
	var got []bool
	for k := range first {
		got = append(got, bytes.Equal(first[k].RawSubjectPublicKeyInfo, second[k].RawSubjectPublicKeyInfo))
	}
	if diff := cmp.Diff([]bool{false, true, false, false, true}, got); diff != "" {
		t.Errorf("same key, leaf first (-want +got):\n%s", diff)
	}
}

// TestSharedLevels: enclaves of one instance share all but the leaf, instances
// of one region all but leaf and instance, regions the root.
func TestSharedLevels(t *testing.T) {
	a := newTestAuthority(t, Config{})
	first := pathOf(t, a, newTestDocument(t, newTestIssuer(t, a), Claims{PCRs: productionPCRs()}), t0)
	for _, tt := range []struct {
		name   string
		change func(*EnclaveID)
		want   []bool
	}{
		{"another enclave", func(e *EnclaveID) { e.SlotUID++ }, []bool{false, true, true, true, true}},
		{"another instance", func(e *EnclaveID) { e.InstanceID = "i-00000000000000001" }, []bool{false, false, true, true, true}},
		{"another region", func(e *EnclaveID) { e.Region = "ap-southeast-1" }, []bool{false, false, false, false, true}},
		{"the same enclave", func(*EnclaveID) {}, []bool{true, true, true, true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := testEnclave
			tt.change(&id)
			i, err := a.Enclave(id)
			if err != nil {
				t.Fatal(err)
			}
			path := pathOf(t, a, newTestDocument(t, i, Claims{PCRs: productionPCRs()}), t0)
			var got []bool
			for k := range path {
				got = append(got, bytes.Equal(path[k].Raw, first[k].Raw))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("same certificate, leaf first (-want +got):\n%s", diff)
			}
		})
	}
}

// TestClockOutsideRoot: a clock that stands where the root does not gives a
// typed error and no document.
func TestClockOutsideRoot(t *testing.T) {
	for _, now := range []time.Time{
		{}, time.Unix(0, 0), rootNotBefore, rootNotBefore.Add(59 * time.Minute),
		rootNotAfter.Add(-10 * 24 * time.Hour), rootNotAfter.Add(time.Hour), time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		clock := newFakeClock()
		clock.Set(now)
		if _, err := newTestIssuer(t, newTestAuthority(t, Config{Clock: clock.Now})).Document(Claims{PCRs: productionPCRs()}); !errors.Is(err, ErrClock) {
			t.Errorf("clock at %v: error %v, want ErrClock", now, err)
		}
	}
	for _, now := range []time.Time{rootNotBefore.Add(time.Hour), rootNotAfter.Add(-20 * 24 * time.Hour)} {
		clock := newFakeClock()
		clock.Set(now)
		if _, err := newTestIssuer(t, newTestAuthority(t, Config{Clock: clock.Now})).Document(Claims{PCRs: productionPCRs()}); err != nil {
			t.Errorf("clock at %v: %v", now, err)
		}
	}
}

// TestConcurrent: many goroutines, enclaves and a moving clock; every document
// verifies. The race detector does the rest.
func TestConcurrent(t *testing.T) {
	clock := newFakeClock()
	a := newTestAuthority(t, Config{Clock: clock.Now})
	shared := newTestIssuer(t, a)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			own, err := a.Enclave(EnclaveID{InstanceID: "i-00000000000000001", SlotUID: uint64(n), Region: "us-east-1"})
			if err != nil {
				t.Error(err)
				return
			}
			for k := range 4 {
				clock.Set(t0.Add(time.Duration(k) * 55 * time.Minute))
				for _, i := range []*Issuer{shared, own} {
					raw, err := i.Document(Claims{PCRs: productionPCRs()})
					if err != nil {
						t.Error(err)
						continue
					}
					opts := policy(a.Root())
					opts.Time, opts.AtDocumentTime = time.Time{}, true
					if _, err := Verify(raw, opts); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestNewAuthorityErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"little entropy", Config{Entropy: strings.NewReader("short")}, "new attestation authority: read 48 bytes of entropy: unexpected EOF"},
		{"names", Config{Names: 7}, "new attestation authority: unknown Names(7)"},
		{"encoding", Config{Encoding: 7}, "new attestation authority: unknown Encoding(7)"},
		{"negative margin", Config{LeafMargin: -1}, "new attestation authority: leaf margin -1ns is not within 0 to 3h0m0s"},
		{"margin of a life", Config{LeafMargin: 3 * time.Hour}, "new attestation authority: leaf margin 3h0m0s is not within 0 to 3h0m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewAuthority(tt.cfg); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestEnclaveErrors(t *testing.T) {
	a := newTestAuthority(t, Config{})
	for _, tt := range []struct {
		name string
		id   EnclaveID
		want string
	}{
		{"nothing", EnclaveID{}, "attestation enclave: instance id is empty"},
		{"no region", EnclaveID{InstanceID: "i-1"}, "attestation enclave: region is empty"},
		{"strange instance", EnclaveID{InstanceID: "i-1/2", Region: "us-east-1"}, `attestation enclave: instance id "i-1/2": only a-z, 0-9 and - are allowed`},
		{"strange module", EnclaveID{InstanceID: "i-1", ModuleID: "A", Region: "us-east-1"}, `attestation enclave: module id "A": only a-z, 0-9 and - are allowed`},
		{
			"long region", EnclaveID{InstanceID: "i-0a1b2c3d4e5f60718", Region: "a-region-of-many-letters"},
			`attestation enclave: common name "i-0a1b2c3d4e5f60718-enc0000000000000000.a-region-of-many-letters.aws": 68 characters, at most 64 are allowed`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := a.Enclave(tt.id); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
	// The longest regions there are fit at every level.
	for _, region := range []string{"ap-southeast-1", "us-isob-east-1", "us-gov-west-1"} {
		i, err := a.Enclave(EnclaveID{InstanceID: "i-0a1b2c3d4e5f60718", Region: region})
		if err != nil {
			t.Fatal(err)
		}
		newTestDocument(t, i, Claims{PCRs: productionPCRs()})
	}
}

func TestRootPEM(t *testing.T) {
	a := newTestAuthority(t, Config{})
	roots, err := ParseRoots(append(a.RootPEM(), '\n'))
	if err != nil {
		t.Fatal(err)
	}
	if len(roots) != 1 || !roots[0].Equal(a.Root()) {
		t.Errorf("read back %d roots, want the one written", len(roots))
	}
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "parse root certificates: no PEM certificate"},
		{"text", "no certificate", "parse root certificates: no PEM certificate"},
		{"another type", strings.ReplaceAll(string(a.RootPEM()), "CERTIFICATE", "PRIVATE KEY"), `parse root certificates: block 1 is a "PRIVATE KEY"`},
		{"text after it", string(a.RootPEM()) + "tail", "parse root certificates: 4 bytes after the last block"},
		{"no DER", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "parse root certificates: block 1: x509: malformed certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseRoots([]byte(tt.text)); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
