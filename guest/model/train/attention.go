package train

import "math"

// attend computes the shares that each token gives to those before it in its
// text, one matrix for each text and head, and the values mixed by them.
func (f *pass) attend(c *layerPass) {
	s := f.p.Shape
	w, hw := s.Width, s.Width/s.Heads
	scale := 1 / float32(math.Sqrt(float64(hw)))
	c.mixed = make([]float32, len(c.v))
	for i, start := range f.starts[:len(f.starts)-1] {
		n := f.starts[i+1] - start
		for t := range n {
			f.rotate(c.q[(start+t)*w:(start+t+1)*w], t, 1)
			f.rotate(c.k[(start+t)*w:(start+t+1)*w], t, 1)
		}
		for head := 0; head < w; head += hw {
			at := func(m []float32, t int) []float32 { return m[(start+t)*w+head : (start+t)*w+head+hw] }
			shares := make([]float32, n*n)
			for t := range n {
				row := shares[t*n : t*n+t+1]
				for u := range row {
					row[u] = scale * dot(at(c.q, t), at(c.k, u))
				}
				softmax(row)
				mixed := at(c.mixed, t)
				for u, share := range row {
					for j, v := range at(c.v, u) {
						mixed[j] += share * v
					}
				}
			}
			c.shares = append(c.shares, shares)
		}
	}
}

// attentionGradient gives the gradients of queries, keys and values before their
// rotation, from that of what was mixed.
func (f *pass) attentionGradient(c *layerPass, dmixed []float32) (dq, dk, dv []float32) {
	s := f.p.Shape
	w, hw := s.Width, s.Width/s.Heads
	scale := 1 / float32(math.Sqrt(float64(hw)))
	dq, dk, dv = make([]float32, len(dmixed)), make([]float32, len(dmixed)), make([]float32, len(dmixed))
	which := 0
	for i, start := range f.starts[:len(f.starts)-1] {
		n := f.starts[i+1] - start
		dshares := make([]float32, n)
		for head := 0; head < w; head += hw {
			at := func(m []float32, t int) []float32 { return m[(start+t)*w+head : (start+t)*w+head+hw] }
			shares := c.shares[which]
			which++
			for t := range n {
				row, d := shares[t*n:t*n+t+1], at(dmixed, t)
				var mean float32
				for u, share := range row {
					dshares[u] = dot(d, at(c.v, u))
					mean += share * dshares[u]
					for j, v := range d {
						at(dv, u)[j] += share * v
					}
				}
				for u, share := range row {
					dscore := scale * share * (dshares[u] - mean)
					q, k, dqt, dku := at(c.q, t), at(c.k, u), at(dq, t), at(dk, u)
					for j := range dqt {
						dqt[j] += dscore * k[j]
						dku[j] += dscore * q[j]
					}
				}
			}
		}
		for t := range n { // the gradient turns back what was turned
			f.rotate(dq[(start+t)*w:(start+t+1)*w], t, -1)
			f.rotate(dk[(start+t)*w:(start+t+1)*w], t, -1)
		}
	}
	return dq, dk, dv
}

// rotate turns the pairs of all heads by the angles of a position, or back.
func (f *pass) rotate(v []float32, position int, direction float32) {
	pairs := f.p.Shape.Width / f.p.Shape.Heads / 2
	cos, sin := f.cos[position*pairs:(position+1)*pairs], f.sin[position*pairs:(position+1)*pairs]
	for len(v) > 0 {
		for i, co := range cos {
			a, b, si := v[2*i], v[2*i+1], direction*sin[i]
			v[2*i], v[2*i+1] = a*co-b*si, a*si+b*co
		}
		v = v[2*pairs:]
	}
}

func softmax(x []float32) {
	high := x[0]
	for _, v := range x {
		high = max(high, v)
	}
	var sum float32
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v - high)))
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}
