package policy

import (
	"fmt"
	"strings"
)

// A template is a value of a policy with its variables, IAM user guide "IAM
// policy elements: Variables and tags": ${key}, ${key, 'default'}, and ${*},
// ${?} and ${$} for the characters themselves.
type template struct {
	parts []part
	// text and glob are the expansion if no part is a variable.
	text  string
	glob  pattern
	fixed bool
}

// A part is text or, with a key, a variable.
type part struct {
	text       string
	key        string
	byDefault  string
	hasDefault bool
	quoted     bool // text is a character by ${*}, ${?} or ${$}
}

// newTemplate reads text. Without variables, which is the older version of the
// language, it stands for itself.
func newTemplate(text string, variables bool) (template, error) {
	t := template{fixed: true}
	rest := text
	for variables {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return template{}, fmt.Errorf("value is %s: ${ has no }", quote(text))
		}
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		p, err := newVariable(name)
		if err != nil {
			return template{}, fmt.Errorf("value is %s: %w", quote(text), err)
		}
		t.parts = append(t.parts, p)
		t.fixed = t.fixed && p.key == ""
		rest = tail
	}
	if rest != "" {
		t.parts = append(t.parts, part{text: rest})
	}
	if t.fixed {
		t.text, _ = t.expand(nil)
		t.glob, _ = t.expandGlob(nil)
	}
	return t, nil
}

// newVariable reads what stands between ${ and }.
func newVariable(name string) (part, error) {
	switch name {
	case "*", "?", "$":
		return part{text: name, quoted: true}, nil
	}
	key, fallback, hasDefault := strings.Cut(name, ",")
	key = strings.TrimSpace(key)
	if !validKey(key) {
		return part{}, fmt.Errorf("variable ${%s} is no condition key; allowed are such as ${aws:PrincipalAccount}, and ${*}, ${?}, ${$}", name)
	}
	p := part{key: key, hasDefault: hasDefault}
	if hasDefault {
		d := strings.TrimSpace(fallback)
		if len(d) < 2 || d[0] != '\'' || d[len(d)-1] != '\'' {
			return part{}, fmt.Errorf("default of variable ${%s} is not in single quotes", name)
		}
		p.byDefault = d[1 : len(d)-1]
	}
	return p, nil
}

// value is what stands for the part in a request; false if the request does not
// have the key, or has several values for it.
func (p part) value(r *Request) (string, bool) {
	if p.key == "" {
		return p.text, true
	}
	if values := r.values(p.key); len(values) == 1 {
		return values[0], true
	}
	return p.byDefault, p.hasDefault
}

// expand is the text in a request, in which * and ? are no wildcards. It is false
// if a variable has no value; then nothing matches.
func (t *template) expand(r *Request) (string, bool) {
	if t.fixed && r != nil {
		return t.text, true
	}
	var b strings.Builder
	for _, p := range t.parts {
		v, ok := p.value(r)
		if !ok {
			return "", false
		}
		b.WriteString(v)
	}
	return b.String(), true
}

// expandGlob is the pattern in a request. Wildcards are those of the policy's
// text; in the value of a variable a * is a star, or whoever can choose a value
// could match everything.
func (t *template) expandGlob(r *Request) (pattern, bool) {
	if t.fixed && r != nil {
		return t.glob, true
	}
	var g pattern
	for _, p := range t.parts {
		v, ok := p.value(r)
		switch {
		case !ok:
			return nil, false
		case p.key != "" || p.quoted:
			g = append(g, []rune(v)...)
		default:
			g = append(g, wild(v)...)
		}
	}
	return g, true
}
