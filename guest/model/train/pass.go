package train

import (
	"math"

	"github.com/nitrolab/nitrolab/guest/model"
)

// A pass is one computation of the loss of a few texts, with everything that
// its gradient needs. The tokens of all texts stand one below the other, so that
// all but attention treats them as rows of one matrix.
type pass struct {
	p        *model.Params
	cos, sin []float32

	starts       []int // of each text, and the end of the last
	tokens, next []int // read, and to be predicted

	layers []layerPass
	last   []float32 // stream after the last layer
	normed norm
	logits []float32 // turned into their own gradient by loss
}

// layerPass is what one layer computed.
type layerPass struct {
	in, mid           []float32 // stream before attention and before the network
	attention, hidden norm
	q, k, v           []float32 // q and k are rotated
	shares            [][]float32
	mixed             []float32
	gate, up, gated   []float32
}

// A norm is a normalized matrix and what it was divided by, row by row.
type norm struct{ out, scale []float32 }

func newPass(p *model.Params, texts []Text) *pass {
	f := &pass{p: p}
	f.cos, f.sin = model.Rotations(p.Shape)
	for _, t := range texts {
		f.starts = append(f.starts, len(f.tokens))
		f.tokens = append(f.tokens, t[:len(t)-1]...)
		f.next = append(f.next, t[1:]...)
	}
	f.starts = append(f.starts, len(f.tokens))
	f.forward()
	return f
}

func (f *pass) forward() {
	p, n := f.p, len(f.tokens)
	w := p.Shape.Width
	x := make([]float32, n*w)
	for i, t := range f.tokens {
		copy(x[i*w:], p.Embedding[t*w:(t+1)*w])
	}
	f.layers = make([]layerPass, len(p.Layers))
	for i := range p.Layers {
		l, c := &p.Layers[i], &f.layers[i]
		c.in = x
		c.attention = normalize(x, l.AttentionNorm)
		c.q, c.k, c.v = apply(c.attention.out, l.Query, n), apply(c.attention.out, l.Key, n), apply(c.attention.out, l.Value, n)
		f.attend(c)
		c.mid = apply(c.mixed, l.Merge, n)
		add(c.mid, x)

		c.hidden = normalize(c.mid, l.HiddenNorm)
		c.gate, c.up = apply(c.hidden.out, l.Gate, n), apply(c.hidden.out, l.Up, n)
		c.gated = make([]float32, len(c.gate))
		for j, g := range c.gate {
			c.gated[j] = g * logistic(g) * c.up[j]
		}
		x = apply(c.gated, l.Down, n)
		add(x, c.mid)
	}
	f.last = x
	f.normed = normalize(x, p.Norm)
	f.logits = apply(f.normed.out, p.Embedding, n)
}

// loss is the mean over all tokens of the cross entropy of the token that
// follows. It replaces the logits by the gradient of this mean.
func (f *pass) loss() float64 {
	vocab := f.p.Shape.Vocab
	var total float64
	for i, want := range f.next {
		row := f.logits[i*vocab : (i+1)*vocab]
		right := float64(row[want])
		high := row[0]
		for _, v := range row {
			high = max(high, v)
		}
		var sum float64
		for j, v := range row {
			e := math.Exp(float64(v - high))
			row[j] = float32(e)
			sum += e
		}
		total += math.Log(sum) + float64(high) - right
		scale := float32(1 / (sum * float64(len(f.next))))
		for j := range row {
			row[j] *= scale
		}
		row[want] -= 1 / float32(len(f.next))
	}
	return total / float64(len(f.next))
}

// gradient adds the gradient of the loss to g. Preconditions: loss was called.
func (f *pass) gradient(g *model.Params) {
	p, n := f.p, len(f.tokens)
	w := p.Shape.Width
	dnormed := make([]float32, n*w)
	unapply(dnormed, g.Embedding, f.logits, f.normed.out, p.Embedding, n)
	dx := make([]float32, n*w) // of the stream, from the last layer down
	f.normed.gradient(dx, g.Norm, dnormed, f.last, p.Norm)
	for i := len(p.Layers) - 1; i >= 0; i-- {
		f.layerGradient(&p.Layers[i], &g.Layers[i], &f.layers[i], dx)
	}
	for i, t := range f.tokens {
		add(g.Embedding[t*w:(t+1)*w], dx[i*w:(i+1)*w])
	}
}

// layerGradient turns dx, the gradient of what layer l gave, into that of what
// it was given.
func (f *pass) layerGradient(l, g *model.LayerParams, c *layerPass, dx []float32) {
	n := len(f.tokens)
	dgated := make([]float32, len(c.gated))
	unapply(dgated, g.Down, dx, c.gated, l.Down, n)
	dgate, dup := make([]float32, len(c.gate)), make([]float32, len(c.up))
	for j, d := range dgated {
		s := logistic(c.gate[j])
		dup[j] = d * c.gate[j] * s
		dgate[j] = d * c.up[j] * s * (1 + c.gate[j]*(1-s))
	}
	dnormed := make([]float32, len(dx))
	unapply(dnormed, g.Gate, dgate, c.hidden.out, l.Gate, n)
	unapply(dnormed, g.Up, dup, c.hidden.out, l.Up, n)
	c.hidden.gradient(dx, g.HiddenNorm, dnormed, c.mid, l.HiddenNorm)

	dmixed := make([]float32, len(dx))
	unapply(dmixed, g.Merge, dx, c.mixed, l.Merge, n)
	dq, dk, dv := f.attentionGradient(c, dmixed)
	clear(dnormed)
	unapply(dnormed, g.Query, dq, c.attention.out, l.Query, n)
	unapply(dnormed, g.Key, dk, c.attention.out, l.Key, n)
	unapply(dnormed, g.Value, dv, c.attention.out, l.Value, n)
	c.attention.gradient(dx, g.AttentionNorm, dnormed, c.in, l.AttentionNorm)
}

// normalize is what model does to each row of x.
func normalize(x, gain []float32) norm {
	w := len(gain)
	r := norm{out: make([]float32, len(x)), scale: make([]float32, len(x)/w)}
	for i := range r.scale {
		row, out := x[i*w:(i+1)*w], r.out[i*w:(i+1)*w]
		r.scale[i] = 1 / float32(math.Sqrt(float64(dot(row, row)/float32(w)+model.Epsilon)))
		for j, v := range row {
			out[j] = v * r.scale[i] * gain[j]
		}
	}
	return r
}

// gradient adds to dx and dgain what follows from dout. x is what was normalized.
func (r norm) gradient(dx, dgain, dout, x, gain []float32) {
	w := len(gain)
	for i, scale := range r.scale {
		x, dx, dout := x[i*w:(i+1)*w], dx[i*w:(i+1)*w], dout[i*w:(i+1)*w]
		var along float32 // of the gradient in the direction of x
		for j, v := range x {
			along += dout[j] * gain[j] * v
			dgain[j] += dout[j] * v * scale
		}
		along *= scale * scale / float32(w)
		for j, v := range x {
			dx[j] += scale * (dout[j]*gain[j] - v*along)
		}
	}
}

func logistic(x float32) float32 { return 1 / (1 + float32(math.Exp(float64(-x)))) }

func add(to, v []float32) {
	to = to[:len(v)]
	for i, x := range v {
		to[i] += x
	}
}
