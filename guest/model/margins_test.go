package model

import (
	"slices"
	"testing"

	"github.com/nitrolab/nitrolab/guest/model/weights"
)

// TestMargins: where the project's model decides, the second likeliest is well
// behind, so that a machine that rounds differently (fused multiply-add on arm64)
// gives the same answers.
func TestMargins(t *testing.T) {
	m, err := Load(weights.Model())
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range weights.Examples() {
		if i%3 != 0 {
			continue // they are alike, and the race detector is slow
		}
		prompt, err := Tokens("\n" + e.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := Tokens(e.Completion)
		if err != nil {
			t.Fatal(err)
		}
		d := newDecoder(m)
		for at, token := range append(prompt, answer...) {
			if d.full() {
				break
			}
			logits := slices.Clone(d.read(token))
			if at < len(prompt)-1 {
				continue
			}
			slices.Sort(logits)
			if gap := logits[len(logits)-1] - logits[len(logits)-2]; !(gap > 0.1) {
				t.Errorf("%q: %v between the two likeliest after %d characters of the answer", e.Prompt, gap, at-len(prompt)+1)
			}
		}
	}
}
