package qemu

import "strings"

// ShellQuote joins words into a line that a POSIX shell takes apart into the
// same words.
func ShellQuote(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quoteWord(w)
	}
	return strings.Join(quoted, " ")
}

// plain are the characters that mean nothing to a shell anywhere in a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%"

func quoteWord(w string) string {
	if w != "" && strings.Trim(w, plain) == "" {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// reproduce is a line to paste into a shell. What is different from the process
// that ran is said in a comment behind it.
func reproduce(env, binary []string, c *CommandLine) string {
	var words []string
	if len(env) > 0 {
		words = append(append(words, "env"), env...)
	}
	words = append(append(words, binary...), c.Typed...)
	line := ShellQuote(words...)
	if len(c.Notes) > 0 {
		line += "  # " + strings.Join(c.Notes, "; ")
	}
	return line
}
