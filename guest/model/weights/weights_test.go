package weights_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/train"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

// TestExamples: the model gives the completions that were written beside it, and
// they are the lines it was trained on. If it fails after a change of the lines or
// of package train, make the weights again: go generate ./guest/model/weights
func TestExamples(t *testing.T) {
	m, err := model.Load(weights.Model())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(train.Project().Shape, m.Shape()); diff != "" {
		t.Errorf("shape (-trained +file):\n%s", diff)
	}
	var got []weights.Example
	var lines []string
	for _, e := range weights.Examples() {
		text, err := m.Complete(t.Context(), e.Prompt, 200)
		if err != nil {
			t.Fatalf("%q: %v", e.Prompt, err)
		}
		got = append(got, weights.Example{Prompt: e.Prompt, Completion: text})
		lines = append(lines, e.Prompt+e.Completion)
	}
	if diff := cmp.Diff(weights.Examples(), got); diff != "" {
		t.Errorf("answers (-examples.json +model):\n%s", diff)
	}
	if diff := cmp.Diff(train.Facts(), lines); diff != "" {
		t.Errorf("lines (-facts.txt +examples.json):\n%s", diff)
	}
}

// TestModelIsACopy: who wipes the bytes wipes none but his own.
func TestModelIsACopy(t *testing.T) {
	clear(weights.Model())
	if _, err := model.Load(weights.Model()); err != nil {
		t.Error(err)
	}
}

// TestSize keeps the repository and the images small.
func TestSize(t *testing.T) {
	if n := len(weights.Model()); n > 512<<10 {
		t.Errorf("the weights have %d bytes", n)
	}
	for _, line := range train.Facts() {
		if strings.Count(line, "?") != 1 || line != strings.TrimSpace(line) {
			t.Errorf("line %q is not a question and its answer", line)
		}
	}
}
