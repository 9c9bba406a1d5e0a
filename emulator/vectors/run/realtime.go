package run

import (
	"fmt"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run/protocol"
)

const (
	// steady is how long the verdict about a document must stay the same for a
	// verifier to be asked about it in real time. A case about the last second
	// of a certificate is not one.
	steady = time.Minute

	// freshFor is how long documents are used before they are made anew, so that
	// a verifier with [DefaultTimeout] ends within steady.
	freshFor = 30 * time.Second
)

// RealTime makes the corpus of a seed anew for now, for verifiers that cannot be
// told another time. A case about the clock is made for the past or the future
// instead: a document that expired four hours ago at the time of its case was
// really made that long ago, as far as its certificates say.
//
// Cases whose verdict would be another one now or within a minute are skipped,
// and those that would have to be made outside the years that
// [vectors.GenerateAt] takes. Each of the times that cases are about costs the
// making of a corpus, about a second.
func RealTime(seed []byte, now func() time.Time) (Source, error) {
	base, err := vectors.GenerateAt(seed, now().Truncate(time.Second))
	if err != nil {
		return nil, err
	}
	return &realTime{seed: seed, now: now, base: base, batches: map[time.Duration]*batch{}}, nil
}

type realTime struct {
	seed []byte
	now  func() time.Time
	base *vectors.Corpus // for the list; no verifier sees its documents

	mu      sync.Mutex // guards batches, not what is in them
	batches map[time.Duration]*batch
}

// A batch is the corpus for all cases whose time lies equally far from the time
// at which the documents are made.
type batch struct {
	mu     sync.Mutex
	made   time.Time
	corpus *vectors.Corpus // nil if it could not be made
	err    error
}

func (s *realTime) Cases() []vectors.Case { return s.base.Cases }

// offset is the time of a case from that of its document, in whole seconds: so
// that certificates, which count seconds, are as far from the document in each
// batch as they are in the others.
func (s *realTime) offset(c vectors.Case) time.Duration {
	d := c.Time.Sub(s.base.Reference)
	if whole := d.Truncate(time.Second); whole < d {
		return whole + time.Second // else the case would be after now
	}
	return d.Truncate(time.Second)
}

func (s *realTime) Fresh(index int) (*vectors.Corpus, vectors.Case, error) {
	c := s.base.Cases[index]
	corpus, err := s.batch(s.offset(c))
	if err != nil {
		return nil, c, &SkipError{clean("cannot be made for now: " + err.Error())}
	}
	if len(corpus.Cases) != len(s.base.Cases) || corpus.Cases[index].ID != c.ID {
		return nil, c, fmt.Errorf("the corpus made for %v is another one", corpus.Reference)
	}
	c = corpus.Cases[index]
	now := s.now()
	first, then := accepted(corpus, c, now), accepted(corpus, c, now.Add(steady))
	if first != then || c.Verdict != vectors.Either && first != (c.Verdict == vectors.Accept) {
		return nil, c, &SkipError{fmt.Sprintf("its verdict changes within %v", steady)}
	}
	return corpus, c, nil
}

// batch gives documents made so that their cases are now.
func (s *realTime) batch(offset time.Duration) (*vectors.Corpus, error) {
	s.mu.Lock()
	b := s.batches[offset]
	if b == nil {
		b = &batch{}
		s.batches[offset] = b
	}
	s.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := s.now()
	if b.corpus == nil && b.err == nil || now.Sub(b.made) >= freshFor {
		b.made = now
		b.corpus, b.err = vectors.GenerateAt(s.seed, now.Truncate(time.Second).Add(-offset))
		if b.err == nil {
			s.trim(b.corpus, offset)
		}
	}
	return b.corpus, b.err
}

// trim drops the documents of other batches: there may be dozens of them.
func (s *realTime) trim(corpus *vectors.Corpus, offset time.Duration) {
	for _, c := range s.base.Cases {
		if s.offset(c) != offset {
			delete(corpus.Documents, c.Document)
		}
	}
}

// accepted is the verdict of this project's verifier at some time.
func accepted(corpus *vectors.Corpus, c vectors.Case, at time.Time) bool {
	q := protocol.RequestOf(0, corpus, c)
	q.Time = at
	return protocol.Verify(q) == nil
}
