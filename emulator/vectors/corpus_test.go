package vectors

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hf/nitrite"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// TestSize: every group of the catalogue, documents to accept and to refuse.
func TestSize(t *testing.T) {
	c := newCorpus(t)
	count := map[string]int{}
	verdicts := map[Verdict]int{}
	for _, of := range c.Cases {
		count[of.Group]++
		verdicts[of.Verdict]++
	}
	want := []string{"good"}
	for i := range 24 {
		want = append(want, fmt.Sprintf("A%d", i+1))
	}
	for _, group := range want {
		if count[group] < 3 {
			t.Errorf("group %s has %d cases", group, count[group])
		}
		delete(count, group)
	}
	if len(count) > 0 {
		t.Errorf("groups that are not in the catalogue: %v", count)
	}
	if len(c.Cases) < 1000 || verdicts[Accept] < 80 || verdicts[Reject] < 900 {
		t.Errorf("%d cases, of which %v", len(c.Cases), verdicts)
	}
}

// TestCases: what a reader of a case may rely on.
func TestCases(t *testing.T) {
	c := newCorpus(t)
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, of := range c.Cases {
		if of.number() < last {
			t.Errorf("%s is not in order", of.ID)
		}
		last = of.number()
		if of.Title == "" || of.Source == "" {
			t.Errorf("%s has no title or no source", of.ID)
		}
		if (of.Wrong == "") != (of.Verdict == Accept) {
			t.Errorf("%s: verdict %s, wrong %q", of.ID, of.Verdict, of.Wrong)
		}
		if (len(of.Fails) > 0) != (of.Verdict == Reject) {
			t.Errorf("%s: verdict %s, failing checks %v", of.ID, of.Verdict, of.Fails)
		}
		if of.Time.Location() != time.UTC {
			t.Errorf("%s: time %v", of.ID, of.Time)
		}
		if strings.ContainsAny(of.Title+of.Wrong+of.Source, "\n\t") {
			t.Errorf("%s: text of several lines", of.ID)
		}
	}
}

// TestSingleCause: documents are all different, but for those whose expectation
// is what is wrong, and no two cases ask the same question.
func TestSingleCause(t *testing.T) {
	c := newCorpus(t)
	seen := map[string]string{}
	for _, of := range c.Cases {
		question := of
		question.ID, question.Group, question.Title, question.Wrong = "", "", "", ""
		question.Document, question.Source, question.Level, question.TwinOf, question.Fails = "", "", "", "", nil
		text, err := json.Marshal(question)
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[string(text)]; twice {
			t.Errorf("%s asks what %s asks", of.ID, other)
		}
		seen[string(text)] = of.ID
	}
}

// TestTwins: the same payload, other bytes.
func TestTwins(t *testing.T) {
	c := newCorpus(t)
	byID := map[string]Case{}
	twins := 0
	for _, of := range c.Cases {
		byID[of.ID] = of
	}
	for _, of := range c.Cases {
		if of.TwinOf == "" {
			continue
		}
		twins++
		a, err := attestation.Parse(c.Bytes(of))
		if err != nil {
			t.Fatal(err)
		}
		b, err := attestation.Parse(c.Bytes(byID[of.TwinOf]))
		if err != nil {
			t.Fatal(err)
		}
		if a.Fingerprint() != b.Fingerprint() || bytes.Equal(c.Bytes(of), c.Bytes(byID[of.TwinOf])) {
			t.Errorf("%s and %s: same payload %v, same bytes %v", of.ID, of.TwinOf,
				a.Fingerprint() == b.Fingerprint(), bytes.Equal(c.Bytes(of), c.Bytes(byID[of.TwinOf])))
		}
	}
	if twins < 5 {
		t.Errorf("%d twins", twins)
	}
}

// TestDeterministic: the seed decides about every byte, and the reference time.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	files := func(seed string, at time.Time) map[string][]byte {
		t.Helper()
		c, err := GenerateAt([]byte(seed), at)
		if err != nil {
			t.Fatal(err)
		}
		files, err := c.files()
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	first, err := newCorpus(t).files()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files(string(testSeed), Reference) {
		if !bytes.Equal(content, first[name]) {
			t.Errorf("%s differs", name)
		}
	}
	seeded := files("another seed", Reference)
	if len(seeded) != len(first) {
		t.Errorf("%d files from one seed, %d from another", len(first), len(seeded))
	}
	same := 0
	for name, content := range seeded {
		if bytes.Equal(content, first[name]) {
			same++
		}
	}
	if same > 20 { // README.md and documents that have no key in them
		t.Errorf("%d files are the same from another seed", same)
	}
	later := files(string(testSeed), Reference.Add(400*24*time.Hour))
	if !bytes.Equal(later["roots/host.pem"], first["roots/host.pem"]) {
		t.Error("the root depends on the time")
	}
	if bytes.Equal(later["documents/good-definite-map.cbor"], first["documents/good-definite-map.cbor"]) {
		t.Error("a document does not depend on the time")
	}
}

// TestGenerateAt: our verifier agrees at other times too, which are rounded in
// other ways.
func TestGenerateAt(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{
		time.Date(2024, time.February, 29, 23, 59, 59, 999_999_999, time.FixedZone("", 3600)),
		time.Date(2048, time.December, 31, 0, 0, 0, 0, time.UTC),
	} {
		c, err := GenerateAt(testSeed, at)
		if err != nil {
			t.Fatal(err)
		}
		if d := at.Sub(c.Reference); d < 0 || d >= time.Millisecond {
			t.Errorf("reference time %v for %v", c.Reference, at)
		}
		for _, of := range c.Cases {
			if of.Verdict == Either || of.ID == "A13-after-root" {
				continue
			}
			fails, _ := answer(t, c.Bytes(of), options(t, c, of))
			if diff := cmp.Diff(of.Fails, fails); diff != "" {
				t.Errorf("%v, %s: failed checks (-want +got):\n%s", at, of.ID, diff)
			}
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		seed []byte
		at   time.Time
		want string
	}{
		{"no seed", nil, Reference, "generate vectors: seed has 0 bytes, at least 8 are needed"},
		{"short seed", make([]byte, 7), Reference, "seed has 7 bytes"},
		{"long seed", make([]byte, MaxSeed+1), Reference, "at most 1024 are allowed"},
		{"too early", testSeed, time.Date(2019, 12, 31, 0, 0, 0, 0, time.UTC), "not within 2020 to 2048"},
		{"too late", testSeed, time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC), "not within 2020 to 2048"},
	} {
		c, err := GenerateAt(tt.seed, tt.at)
		if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestFault: a recipe that does not fit gives an error and no half of a corpus.
func TestFault(t *testing.T) {
	defer func(saved []func(*kitchen)) { groups = saved }(groups)
	groups = []func(*kitchen){func(*kitchen) { broken("the recipe is wrong") }}
	if c, err := Generate(testSeed); c != nil || err == nil || err.Error() != "generate vectors: the recipe is wrong" {
		t.Errorf("corpus %v, error %v", c, err)
	}
}

// TestVisiblyEmulated: no root that is to be trusted could be taken for AWS's.
func TestVisiblyEmulated(t *testing.T) {
	c := newCorpus(t)
	for name, text := range c.Roots {
		block, rest := pem.Decode(text)
		if block == nil || len(rest) > 0 {
			t.Fatalf("%s is not one PEM block", name)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if subject := fmt.Sprint(cert.Subject.Organization); subject != "[nitrolab emulated, not AWS]" || strings.Contains(cert.Subject.CommonName, "aws") {
			t.Errorf("%s: subject %s", name, subject)
		}
	}
}

// TestGoodByOthers: an independent verifier accepts the good documents, so that
// they are not just what this project takes for good. It tells nil and empty
// optional fields apart in nothing, and reads the root from the pool.
func TestGoodByOthers(t *testing.T) {
	c := newCorpus(t)
	for _, of := range c.Cases {
		if of.Group != "good" || of.Level != Must {
			continue
		}
		pool := x509.NewCertPool()
		for _, text := range c.RootPEMs(of) {
			pool.AppendCertsFromPEM(text)
		}
		if _, err := nitrite.Verify(c.Bytes(of), nitrite.VerifyOptions{Roots: pool, CurrentTime: of.Time}); err != nil {
			t.Errorf("%s: %v", of.ID, err)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Generate(testSeed); err != nil {
			b.Fatal(err)
		}
	}
}
