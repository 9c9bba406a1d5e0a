package sigv4

import (
	"bytes"
	"strconv"
	"testing"
)

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	for _, size := range []int{100, 10_000} { // a Decrypt, and one with a document
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			body := bytes.Repeat([]byte{'x'}, size)
			r := request()
			w.signer(w.session).sign(r, body)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.verifier.Verify(r, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A request that cannot be right costs little.
func BenchmarkVerifyUnknownKey(b *testing.B) {
	w := newWorld(b)
	r, s := request(), w.signer(w.user)
	s.credentials.AccessKeyID = "AKIAAAAAAAAAAAAAAAAA"
	s.sign(r, testBody)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.verifier.Verify(r, testBody); err == nil {
			b.Fatal("let through")
		}
	}
}
