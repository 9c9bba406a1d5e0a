package vectors

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

var testSeed = []byte("nitrolab vectors test seed")

// testCorpus is made once: it is not changed by anybody.
var testCorpus = sync.OnceValues(func() (*Corpus, error) { return Generate(testSeed) })

func newCorpus(t testing.TB) *Corpus {
	t.Helper()
	c, err := testCorpus()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options are what our verifier is told for a case.
func options(t testing.TB, c *Corpus, of Case) attestation.Options {
	t.Helper()
	opts := attestation.Options{
		Time: of.Time, MaxAge: time.Duration(of.MaxAgeSeconds) * time.Second,
		Nonce: of.Nonce, UserData: of.UserData, PublicKey: of.PublicKey,
	}
	if of.Archive {
		opts.Time, opts.AtDocumentTime = time.Time{}, true
	}
	if len(of.PCRs) > 0 {
		opts.PCRs = make(map[uint][]byte)
	}
	for i, v := range of.PCRs {
		opts.PCRs[i] = v
	}
	for _, text := range c.RootPEMs(of) {
		roots, err := attestation.ParseRoots(text)
		if err != nil {
			t.Fatal(err)
		}
		opts.Roots = append(opts.Roots, roots...)
	}
	return opts
}

// answer is what our verifier says: the names of the failed checks.
func answer(t testing.TB, document []byte, opts attestation.Options) (fails []string, err error) {
	t.Helper()
	r, err := attestation.Verify(document, opts)
	if r == nil {
		if !errors.Is(err, attestation.ErrNoRoot) && !errors.Is(err, attestation.ErrNoPCRPolicy) {
			t.Fatalf("no result: %v", err)
		}
		return []string{CallRefused}, err
	}
	for _, c := range r.Checks {
		if c.Status == attestation.Failed {
			fails = append(fails, c.Name)
		}
	}
	return fails, err
}

// TestOwnVerifier: devices/nsm/attestation gives the verdict of every case, and
// for the reason the case is about.
func TestOwnVerifier(t *testing.T) {
	c := newCorpus(t)
	for _, of := range c.Cases {
		t.Run(of.ID, func(t *testing.T) {
			fails, err := answer(t, c.Bytes(of), options(t, c, of))
			switch {
			case of.Verdict == Either:
				return
			case of.Verdict == Accept && err != nil:
				t.Errorf("refused: %v", err)
			case of.Verdict == Reject && err == nil:
				t.Errorf("accepted, although %s", of.Wrong)
			}
			want := slices.Clone(of.Fails)
			if diff := cmp.Diff(want, fails); diff != "" {
				t.Errorf("failed checks (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}
