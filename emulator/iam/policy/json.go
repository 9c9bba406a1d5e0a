package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// A node is a JSON value with its members in their order and their number: a
// map[string]any would drop the first of two members of one name without a word,
// and with it half a condition.
type node struct {
	kind   kind
	text   string // of strings, numbers and booleans
	fields []field
	items  []*node
}

type field struct {
	name  string
	value *node
}

type kind uint8

const (
	textNode   kind = iota
	scalarNode      // number or boolean
	objectNode
	listNode
)

var kindNames = [...]string{"a string", "a number or boolean", "an object", "a list"}

// maxDepth is what the language needs: policy, statement, condition, operator,
// list, and the lists of statements around it.
const maxDepth = 6

// readJSON reads one document and nothing behind it.
func readJSON(text []byte) (*node, error) {
	if len(text) == 0 || len(text) > MaxSize {
		return nil, &SyntaxError{"", fmt.Sprintf("document has %d bytes; allowed are 1 to %d", len(text), MaxSize)}
	}
	if !utf8.Valid(text) {
		return nil, &SyntaxError{"", "document is not UTF-8"}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	n, err := readNode(d, "", 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, &SyntaxError{"", "there is more behind the JSON object"}
	}
	return n, nil
}

func readNode(d *json.Decoder, at string, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, &SyntaxError{at, "nested too deep"}
	}
	token, err := d.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	switch t := token.(type) {
	case string:
		return &node{kind: textNode, text: t}, nil
	case json.Number:
		return &node{kind: scalarNode, text: t.String()}, nil
	case bool:
		return &node{kind: scalarNode, text: strconv.FormatBool(t)}, nil
	case json.Delim:
		if t == '[' {
			return readList(d, at, depth)
		}
		return readObject(d, at, depth)
	}
	return nil, &SyntaxError{at, "value is null"}
}

func readList(d *json.Decoder, at string, depth int) (*node, error) {
	n := &node{kind: listNode}
	for d.More() {
		item, err := readNode(d, path(at, len(n.items)), depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON(err)
	}
	return n, nil
}

func readObject(d *json.Decoder, at string, depth int) (*node, error) {
	n := &node{kind: objectNode}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		name, _ := token.(string)
		at := join(at, name)
		if seen[name] {
			return nil, &SyntaxError{at, "stands there twice"}
		}
		seen[name] = true
		value, err := readNode(d, at, depth+1)
		if err != nil {
			return nil, err
		}
		n.fields = append(n.fields, field{name, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON(err)
	}
	return n, nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &SyntaxError{"", "document is not JSON: " + err.Error()}
}

// join is the path of a member. Its name is of the document, so it is quoted
// where it is not plain.
func join(at, name string) string {
	if q := quote(name); q != `"`+name+`"` {
		name = q
	}
	if at == "" {
		return name
	}
	return at + "." + name
}

// members calls f with each member of an object, its name and its path.
func (n *node) members(at string, f func(name, at string, v *node) error) error {
	if n.kind != objectNode {
		return &SyntaxError{at, "value is " + kindNames[n.kind] + "; allowed is an object"}
	}
	for _, m := range n.fields {
		if err := f(m.name, join(at, m.name), m.value); err != nil {
			return err
		}
	}
	return nil
}

// member is that of a name, or nil.
func (n *node) member(name string) *node {
	for _, m := range n.fields {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// list are the items of a list, or the one value that stands for a list of one.
func (n *node) list() []*node {
	if n.kind == listNode {
		return n.items
	}
	return []*node{n}
}

// string is the text of a string.
func (n *node) string(at string) (string, error) {
	if n.kind != textNode {
		return "", &SyntaxError{at, "value is " + kindNames[n.kind] + "; allowed is a string"}
	}
	return n.text, nil
}

// strings is a list of strings, or one. A number or a boolean is its text, as
// AWS takes it in conditions.
func (n *node) strings(at string) ([]string, error) {
	items := n.list()
	if len(items) == 0 {
		return nil, &SyntaxError{at, "list is empty"}
	}
	list := make([]string, len(items))
	for i, item := range items {
		if item.kind != textNode && item.kind != scalarNode {
			return nil, &SyntaxError{at, "value is " + kindNames[item.kind] + "; allowed are a string and a list of strings"}
		}
		list[i] = item.text
	}
	return list, nil
}
