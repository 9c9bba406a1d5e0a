package model

// Params are the weights of a model, or something that there is one of for each
// weight, such as gradients. All matrices are views of Flat, row by row; a matrix
// has a row for each of its outputs.
type Params struct {
	Shape     Shape
	Flat      []float32
	Embedding []float32 // Vocab x Width, also the output matrix
	Layers    []LayerParams
	Norm      []float32 // Width, gains after the last layer
}

// LayerParams are those of one layer.
type LayerParams struct {
	AttentionNorm            []float32 // Width
	Query, Key, Value, Merge []float32 // Width x Width
	HiddenNorm               []float32 // Width
	Gate, Up                 []float32 // Hidden x Width
	Down                     []float32 // Width x Hidden
}

// NewParams makes weights of zero. The error is [ErrShape].
func NewParams(s Shape) (*Params, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return paramsOf(s, make([]float32, s.Params())), nil
}

// paramsOf cuts flat, of s.Params() weights, into matrices, in the order of the
// file format.
func paramsOf(s Shape, flat []float32) *Params {
	p := &Params{Shape: s, Flat: flat, Layers: make([]LayerParams, s.Layers)}
	next := func(n int) []float32 {
		view := flat[:n:n]
		flat = flat[n:]
		return view
	}
	p.Embedding = next(s.Vocab * s.Width)
	for i := range p.Layers {
		p.Layers[i] = LayerParams{
			AttentionNorm: next(s.Width),
			Query:         next(s.Width * s.Width),
			Key:           next(s.Width * s.Width),
			Value:         next(s.Width * s.Width),
			Merge:         next(s.Width * s.Width),
			HiddenNorm:    next(s.Width),
			Gate:          next(s.Hidden * s.Width),
			Up:            next(s.Hidden * s.Width),
			Down:          next(s.Width * s.Hidden),
		}
	}
	p.Norm = next(s.Width)
	return p
}
