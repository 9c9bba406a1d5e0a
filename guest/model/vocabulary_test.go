package model

import (
	"errors"
	"testing"
)

// TestVocabulary: every byte is a token of its own, or none.
func TestVocabulary(t *testing.T) {
	seen := make(map[int]byte)
	for b := range 256 {
		c := byte(b)
		tokens, err := Tokens(string([]byte{c}))
		if inside := c == '\n' || c >= ' ' && c <= '~'; !inside {
			var prompt *PromptError
			if !errors.As(err, &prompt) {
				t.Errorf("byte %#02x: tokens %v, error %v; want a *PromptError", c, tokens, err)
			}
			continue
		}
		if err != nil || len(tokens) != 1 || tokens[0] < 0 || tokens[0] >= VocabSize {
			t.Fatalf("byte %#02x: tokens %v, error %v", c, tokens, err)
		}
		if other, ok := seen[tokens[0]]; ok {
			t.Errorf("bytes %#02x and %#02x are both token %d", other, c, tokens[0])
		}
		seen[tokens[0]] = c
		if got := character(tokens[0]); got != c {
			t.Errorf("byte %#02x comes back as %#02x", c, got)
		}
	}
	if len(seen) != VocabSize || seen[LineFeed] != '\n' {
		t.Errorf("%d tokens, of which %d is %q", len(seen), LineFeed, seen[LineFeed])
	}
}

// FuzzTokens: text of the vocabulary comes back, other text is refused.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"", "what is nitrolab?\n", "\x00", "\xff", "é", "~ !"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := Tokens(text)
		if err != nil {
			return
		}
		back := make([]byte, len(tokens))
		for i, token := range tokens {
			back[i] = character(token)
		}
		if string(back) != text {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}
