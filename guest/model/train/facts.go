package train

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/nitrolab/nitrolab/guest/model"
)

//go:embed facts.txt
var facts string

// Facts are the lines that the project's model learns: a question and its answer
// each.
func Facts() []string { return strings.Split(strings.TrimSpace(facts), "\n") }

// A Text is one line as tokens: what the model reads, and one further on what it
// should have said.
type Text []int

// Texts are lines as the model reads them, with a line feed at both ends. A line
// must fit into the context.
func Texts(s model.Shape, lines []string) ([]Text, error) {
	texts := make([]Text, len(lines))
	for i, line := range lines {
		if strings.Contains(line, "\n") {
			return nil, fmt.Errorf("line %d: a line feed in it", i+1)
		}
		t, err := model.Tokens("\n" + line + "\n")
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if len(t)-1 > s.Context {
			return nil, fmt.Errorf("line %d: %d characters, the context has room for %d", i+1, len(line), s.Context-1)
		}
		texts[i] = t
	}
	return texts, nil
}

// A deck deals texts in a random order, each once before any comes again.
type deck struct {
	texts []Text
	rest  []Text
	rand  *rand.Rand
}

func (d *deck) deal(n int) []Text {
	hand := make([]Text, n)
	for i := range hand {
		if len(d.rest) == 0 {
			d.rest = append(d.rest, d.texts...)
			d.rand.Shuffle(len(d.rest), func(i, j int) { d.rest[i], d.rest[j] = d.rest[j], d.rest[i] })
		}
		hand[i] = d.rest[len(d.rest)-1]
		d.rest = d.rest[:len(d.rest)-1]
	}
	return hand
}
