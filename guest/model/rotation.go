package model

import "math"

// Rotations are the tables of rotary positions (RoFormer, section 3.2.2, base
// 10000): cosine and sine by position, then by pair of dimensions of one head.
func Rotations(s Shape) (cos, sin []float32) {
	pairs := s.headWidth() / 2
	cos, sin = make([]float32, s.Context*pairs), make([]float32, s.Context*pairs)
	for i := range pairs {
		frequency := math.Pow(10000, -float64(i)/float64(pairs))
		for at := range s.Context {
			si, co := math.Sincos(float64(at) * frequency)
			cos[at*pairs+i], sin[at*pairs+i] = float32(co), float32(si)
		}
	}
	return cos, sin
}

// rotate turns the pairs of all heads of v, a query or a key, by the angles of
// one position.
func rotate(v, cos, sin []float32) {
	pairs := len(cos)
	sin = sin[:pairs]
	for len(v) > 0 {
		head := v[:2*pairs]
		for i := range pairs {
			a, b := head[2*i], head[2*i+1]
			head[2*i] = a*cos[i] - b*sin[i]
			head[2*i+1] = a*sin[i] + b*cos[i]
		}
		v = v[2*pairs:]
	}
}
