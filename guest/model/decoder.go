package model

import "math"

// A decoder reads one text, token by token. What it computed for the keys and
// values of earlier tokens is kept, so that a token costs no more than one pass
// over the weights and one over the text so far.
type decoder struct {
	m  *Model
	at int // tokens read

	keys, values [][]float32 // by layer, Context x Width

	stream, normed, query, mixed, merged []float32 // Width
	gate, up                             []float32 // Hidden
	scores                               []float32 // Context
	logits                               []float32 // Vocab
}

func newDecoder(m *Model) *decoder {
	s := m.params.Shape
	d := &decoder{
		m:      m,
		stream: make([]float32, s.Width), normed: make([]float32, s.Width),
		query: make([]float32, s.Width), mixed: make([]float32, s.Width), merged: make([]float32, s.Width),
		gate: make([]float32, s.Hidden), up: make([]float32, s.Hidden),
		scores: make([]float32, s.Context),
		logits: make([]float32, s.Vocab),
	}
	for range s.Layers {
		d.keys = append(d.keys, make([]float32, s.Context*s.Width))
		d.values = append(d.values, make([]float32, s.Context*s.Width))
	}
	return d
}

// full reports whether the context is used up.
func (d *decoder) full() bool { return d.at == d.m.params.Shape.Context }

// read takes the next token and returns the logits of what may follow it, which
// are good until the next call.
//
// Preconditions: token is below Vocab; the decoder is not full.
func (d *decoder) read(token int) []float32 {
	p := d.m.params
	w := p.Shape.Width
	copy(d.stream, p.Embedding[token*w:(token+1)*w])
	for i := range p.Layers {
		l := &p.Layers[i]
		normalize(d.normed, d.stream, l.AttentionNorm)
		d.attend(l, d.keys[i], d.values[i])
		multiply(d.merged, l.Merge, d.mixed)
		add(d.stream, d.merged)

		normalize(d.normed, d.stream, l.HiddenNorm)
		multiply(d.gate, l.Gate, d.normed)
		multiply(d.up, l.Up, d.normed)
		for j, g := range d.gate {
			d.up[j] *= silu(g)
		}
		multiply(d.merged, l.Down, d.up)
		add(d.stream, d.merged)
	}
	d.at++
	normalize(d.normed, d.stream, p.Norm)
	multiply(d.logits, p.Embedding, d.normed)
	return d.logits
}

// attend mixes the values of all tokens so far, head by head, by how well their
// keys suit this token's query.
func (d *decoder) attend(l *LayerParams, keys, values []float32) {
	s := d.m.params.Shape
	w, hw := s.Width, s.headWidth()
	key, value := keys[d.at*w:(d.at+1)*w], values[d.at*w:(d.at+1)*w]
	multiply(d.query, l.Query, d.normed)
	multiply(key, l.Key, d.normed)
	multiply(value, l.Value, d.normed)
	pairs := hw / 2
	cos, sin := d.m.cos[d.at*pairs:(d.at+1)*pairs], d.m.sin[d.at*pairs:(d.at+1)*pairs]
	rotate(d.query, cos, sin)
	rotate(key, cos, sin)

	scale := 1 / float32(math.Sqrt(float64(hw)))
	scores := d.scores[:d.at+1]
	clear(d.mixed)
	for head := 0; head < w; head += hw {
		query, mixed := d.query[head:head+hw], d.mixed[head:head+hw]
		for t := range scores {
			scores[t] = scale * dot(query, keys[t*w+head:t*w+head+hw])
		}
		softmax(scores)
		for t, share := range scores {
			for j, v := range values[t*w+head : t*w+head+hw] {
				mixed[j] += share * v
			}
		}
	}
}

func add(to, v []float32) {
	to = to[:len(v)]
	for i, x := range v {
		to[i] += x
	}
}
