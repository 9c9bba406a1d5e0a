package model

import (
	"context"
	"fmt"
)

// A Model is ready to complete texts. It is immutable and safe for concurrent
// use, until [Model.Wipe].
type Model struct {
	params   *Params
	cos, sin []float32
}

// New is the model with weights p, which the caller does not modify afterwards.
// Its vocabulary must be that of files.
func New(p *Params) (*Model, error) {
	if p.Shape.Vocab != VocabSize {
		return nil, fmt.Errorf("%w: a vocabulary of %d tokens, allowed is %d", ErrShape, p.Shape.Vocab, VocabSize)
	}
	cos, sin := Rotations(p.Shape)
	return &Model{params: p, cos: cos, sin: sin}, nil
}

// Shape says how large the model is.
func (m *Model) Shape() Shape { return m.params.Shape }

// Wipe overwrites the weights with zeros. Preconditions: nothing uses m any more.
func (m *Model) Wipe() { clear(m.params.Flat) }

// Complete goes on with a line that begins with prompt until the line ends, n
// characters were made or the context is full, and returns what it made, without
// the line feed. It always takes the likeliest character, of equals the first in
// the vocabulary.
//
// A prompt is at most Context-2 characters of printable ASCII; other prompts
// give a [*PromptError]. The error is ctx's if ctx ended first: it is looked at
// before each character, of which one takes time linear in the number of weights:
// a tenth of a millisecond for the project's model, some milliseconds for the
// largest. A call needs 8*Layers*Context*Width bytes, 48 MiB at most, for keys and
// values of attention.
func (m *Model) Complete(ctx context.Context, prompt string, n int) (string, error) {
	d, logits, err := m.read(ctx, prompt)
	if err != nil {
		return "", err
	}
	made := make([]byte, 0, max(0, min(n, m.params.Shape.Context)))
	for len(made) < n {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		next := likeliest(logits)
		if next == LineFeed {
			break
		}
		made = append(made, character(next))
		if d.full() {
			break
		}
		logits = d.read(next)
	}
	return string(made), nil
}

// Logits are the scores of each token of the vocabulary to be the one after
// prompt. Errors are those of [Model.Complete].
func (m *Model) Logits(ctx context.Context, prompt string) ([]float32, error) {
	_, logits, err := m.read(ctx, prompt)
	return logits, err
}

// read has a new decoder read a line feed and the prompt.
func (m *Model) read(ctx context.Context, prompt string) (*decoder, []float32, error) {
	if most := max(0, m.params.Shape.Context-2); len(prompt) > most {
		return nil, nil, &PromptError{fmt.Sprintf("%d characters, allowed are %d", len(prompt), most)}
	}
	tokens, err := Tokens(prompt)
	if err != nil {
		return nil, nil, err
	}
	d := newDecoder(m)
	logits := d.read(LineFeed)
	for i, t := range tokens {
		if t == LineFeed {
			return nil, nil, &PromptError{fmt.Sprintf("line feed at %d; a prompt is one line", i)}
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		logits = d.read(t)
	}
	return d, logits, nil
}

// likeliest is the first token with the highest logit.
func likeliest(logits []float32) int {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return best
}
