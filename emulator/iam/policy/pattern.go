package policy

import "unicode/utf8"

// A pattern is text with wildcards: many and single are stars and question marks,
// every other rune is itself.
type pattern []rune

// The wildcards. No character of a document is negative, so that neither can be
// written there in another way.
const (
	many   rune = -1 // *: any number of characters, also none
	single rune = -2 // ?: one character
)

// wild makes a pattern of text in which * and ? are wildcards.
func wild(text string) pattern {
	p := make(pattern, 0, len(text))
	for _, r := range text {
		switch r {
		case '*':
			r = many
		case '?':
			r = single
		}
		p = append(p, r)
	}
	return p
}

// match reports whether the whole text matches. It goes back to the last star
// only: what stars before it took can stay, because the last one can take more.
// So the time is at most that of comparing every piece at every place.
func (p pattern) match(text string) bool {
	if len(p) == 1 && p[0] == many {
		return true
	}
	s := text
	at, star, from := 0, -1, ""
	for s != "" {
		r, rest := next(s)
		switch {
		case at < len(p) && p[at] == many:
			star, from = at, s
			at++
		case at < len(p) && (p[at] == single || p[at] == r):
			at, s = at+1, rest
		case star >= 0:
			_, from = next(from)
			at, s = star+1, from
		default:
			return false
		}
	}
	for at < len(p) && p[at] == many {
		at++
	}
	return at == len(p)
}

// next splits off the first character. A byte that is no UTF-8 is one too, the
// replacement character.
func next(s string) (rune, string) {
	r, n := utf8.DecodeRuneInString(s)
	return r, s[n:]
}
