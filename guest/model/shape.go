package model

import (
	"errors"
	"fmt"
)

// MaxParams bounds the number of weights of a model: 16 MiB of them.
const MaxParams = 4 << 20

// ErrShape means that a [Shape] describes no model, or one that is too large.
var ErrShape = errors.New("impossible shape of a model")

// A Shape is how large the parts of a model are.
type Shape struct {
	Vocab   int // tokens; [VocabSize] in files
	Context int // tokens that the model can look at, including the first line feed
	Layers  int
	Width   int // of the stream between layers
	Heads   int // of attention; each has Width/Heads dimensions, an even number
	Hidden  int // of the gated network
}

// Bounds of the members of a shape. They keep every product below MaxParams far
// from overflow.
const (
	maxVocab   = 1 << 10
	maxContext = 1 << 10
	maxLayers  = 1 << 5
	maxWidth   = 1 << 10
	maxHidden  = 1 << 12
)

// Check returns an error that matches [ErrShape] if s is no shape.
func (s Shape) Check() error {
	for _, m := range []struct {
		name       string
		value, max int
	}{
		{"vocabulary", s.Vocab, maxVocab},
		{"context", s.Context, maxContext},
		{"layers", s.Layers, maxLayers},
		{"width", s.Width, maxWidth},
		{"heads", s.Heads, maxWidth},
		{"hidden width", s.Hidden, maxHidden},
	} {
		if m.value < 1 || m.value > m.max {
			return fmt.Errorf("%w: %s is %d, allowed are 1 to %d", ErrShape, m.name, m.value, m.max)
		}
	}
	if s.Width%(2*s.Heads) != 0 {
		return fmt.Errorf("%w: a width of %d is not divided by %d heads into even parts", ErrShape, s.Width, s.Heads)
	}
	if n := s.Params(); n > MaxParams {
		return fmt.Errorf("%w: %d weights, allowed are %d", ErrShape, n, MaxParams)
	}
	return nil
}

// Params is the number of weights. The shape passed [Shape.Check] up to this.
func (s Shape) Params() int {
	return s.Vocab*s.Width + s.Layers*s.layerParams() + s.Width
}

func (s Shape) layerParams() int {
	return 2*s.Width + 4*s.Width*s.Width + 3*s.Width*s.Hidden
}

// headWidth is the number of dimensions of one head of attention.
func (s Shape) headWidth() int { return s.Width / s.Heads }
