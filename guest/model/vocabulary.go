package model

import "fmt"

// The vocabulary of model files: the line feed, with which every text begins and
// ends, and the 95 printable characters of ASCII in their order.
const (
	LineFeed  = 0  // token of '\n'
	VocabSize = 96 // tokens
)

const firstPrintable, lastPrintable = ' ', '~'

// Tokens are the tokens of a text. What is not in the vocabulary gives a
// [*PromptError].
func Tokens(text string) ([]int, error) {
	tokens := make([]int, len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n':
			tokens[i] = LineFeed
		case firstPrintable <= c && c <= lastPrintable:
			tokens[i] = int(c) - firstPrintable + 1
		default:
			return nil, &PromptError{fmt.Sprintf("byte %#02x at %d is not printable ASCII", c, i)}
		}
	}
	return tokens, nil
}

// character is the text of one token below VocabSize.
func character(token int) byte {
	if token == LineFeed {
		return '\n'
	}
	return byte(token - 1 + firstPrintable)
}

// A PromptError says what is wrong with a prompt. It does not repeat the prompt.
type PromptError struct{ text string }

func (e *PromptError) Error() string { return "prompt: " + e.text }
