package vectors

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Generate makes the corpus of a seed of [MinSeed] to [MaxSeed] bytes, at the fixed
// time [Reference]: equal seeds give equal bytes. It takes about a second.
func Generate(seed []byte) (*Corpus, error) { return GenerateAt(seed, Reference) }

// The times GenerateAt takes: certificates carry them, the root's validity is
// 2019 to 2049, and some cases lie weeks before and after.
var (
	earliest = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2049, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// GenerateAt is [Generate] at another time, from 2020 to 2048, for verifiers
// that know no other time than now; see [Corpus.RealTime]. The time is cut to
// milliseconds.
func GenerateAt(seed []byte, reference time.Time) (c *Corpus, err error) {
	if len(seed) < MinSeed {
		return nil, fmt.Errorf("generate vectors: seed has %d bytes, at least %d are needed", len(seed), MinSeed)
	}
	if len(seed) > MaxSeed {
		return nil, fmt.Errorf("generate vectors: seed has %d bytes, at most %d are allowed", len(seed), MaxSeed)
	}
	reference = reference.UTC().Truncate(time.Millisecond)
	if reference.Before(earliest) || !reference.Before(latest) {
		return nil, fmt.Errorf("generate vectors: reference time %s is not within %d to %d",
			reference.Format(time.RFC3339), earliest.Year(), latest.Year()-1)
	}
	defer func() {
		switch f := recover().(type) {
		case nil:
		case fault:
			c, err = nil, fmt.Errorf("generate vectors: %w", f.err)
		default:
			panic(f)
		}
	}()
	k := &kitchen{
		keyring:   newKeyring(bytes.Clone(seed)),
		reference: reference,
		seen:      make(map[string]bool),
		corpus: &Corpus{
			Seed: bytes.Clone(seed), Reference: reference,
			Documents: make(map[string][]byte), Roots: make(map[string][]byte),
		},
	}
	k.host = k.worldOf(rootHost)
	for _, name := range []string{rootHost, rootOther} {
		w := k.worldOf(name)
		k.corpus.Roots[rootFile(name)] = rootPEM(w.chain()[root].encode(k.keyring, nil))
	}
	for _, cook := range groups {
		cook(k)
	}
	slices.SortStableFunc(k.corpus.Cases, func(a, b Case) int { return cmp.Compare(a.number(), b.number()) })
	return k.corpus, nil
}

// number is that of the group, 0 for good documents.
func (c Case) number() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(c.Group, "A")) // 0 for "good"
	return n
}

// groups make cases. In a corpus those are in the order of the catalogue.
var groups = []func(*kitchen){
	goodDocuments,
	trustAnchors,
	bundleOrder,
	unsignedDocuments,
	signatureForms,
	debugMode,
	otherImages,
	registerShapes,
	boundFields,
	moments,
	timestamps,
	envelopes,
	truncations,
	payloadMaps,
	fieldSyntax,
	certificateFlaws,
	revocation,
	otherRoots,
}
