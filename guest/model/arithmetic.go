package model

import "math"

// Epsilon is added to a mean square before its root is divided by.
const Epsilon = 1e-5

// normalize writes x over its root mean square, times gain, to out.
func normalize(out, x, gain []float32) {
	var sum float32
	for _, v := range x {
		sum += v * v
	}
	scale := 1 / float32(math.Sqrt(float64(sum/float32(len(x))+Epsilon)))
	out, gain = out[:len(x)], gain[:len(x)]
	for i, v := range x {
		out[i] = v * scale * gain[i]
	}
}

// multiply writes the matrix m, which has len(out) rows of len(x) columns, times
// x to out.
func multiply(out, m, x []float32) {
	for i := range out {
		out[i] = dot(m[i*len(x):(i+1)*len(x)], x)
	}
}

// dot sums in four lanes: the sums do not wait for each other.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// softmax turns scores into weights that sum to one.
func softmax(x []float32) {
	high := x[0]
	for _, v := range x[1:] {
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

// silu is x times the logistic function of x.
func silu(x float32) float32 { return x / (1 + float32(math.Exp(float64(-x)))) }
