package run

import "github.com/nitrolab/nitrolab/emulator/vectors"

// A Source gives the cases of a run. It is safe for concurrent use.
type Source interface {
	// Cases in the order in which they are reported.
	Cases() []vectors.Case

	// Fresh gives the case with this index as it is to be asked about now, and
	// the corpus that holds its files. A *SkipError says that it cannot be asked.
	Fresh(index int) (*vectors.Corpus, vectors.Case, error)
}

// A SkipError says why a source cannot ask about a case.
type SkipError struct{ Reason string }

func (e *SkipError) Error() string { return e.Reason }

// Fixed asks about the cases of a corpus as they are: the verifier has to take
// the time of verification from the case.
func Fixed(corpus *vectors.Corpus) Source { return fixed{corpus} }

type fixed struct{ corpus *vectors.Corpus }

func (f fixed) Cases() []vectors.Case { return f.corpus.Cases }

func (f fixed) Fresh(index int) (*vectors.Corpus, vectors.Case, error) {
	return f.corpus, f.corpus.Cases[index], nil
}
