package envelope

import "fmt"

// Tags (X.690 section 8.1.2). All are below 31, so one byte each.
const (
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagSequence    = 0x30
	tagSet         = 0x31
	tagPrimitive0  = 0x80 // [0] IMPLICIT of a primitive type
	tagContext0    = 0xa0
	tagContext1    = 0xa1
)

// A decoder holds the first error of all its scopes. After it, every read gives
// nothing, so a structure can be read without a check behind every line.
type decoder struct{ err error }

// A scope is the content of a constructed TLV, or the whole input, as far as it is
// not read. It never looks beyond its parent's end.
//
// A TLV of indefinite length is not searched for its end when it is entered:
// children are read from it one after the other and leave expects the two zero
// bytes where they end. So every byte is looked at once, and nothing nests that the
// caller does not name.
type scope struct {
	*decoder
	what   string
	rest   []byte
	parent *scope // not nil if the length is indefinite: gets what follows the end
}

// peek returns the next tag, 0 at the end: no child has it, for it is the first
// byte of the end of an indefinite length.
func (s *scope) peek() byte {
	if s.err != nil || len(s.rest) == 0 {
		return 0
	}
	return s.rest[0]
}

// primitive reads a TLV of definite length and returns its content.
func (s *scope) primitive(tag byte, what string) []byte {
	content, indefinite := s.header(tag, what)
	if indefinite {
		s.fail("%s has no definite length", what)
		return nil
	}
	return content
}

// expect reads a primitive TLV that has one legal content.
func (s *scope) expect(tag byte, content, what string) {
	if got := s.primitive(tag, what); string(got) != content {
		s.fail("%s is %x, %x is supported", what, cut(got), content)
	}
}

// enter reads the beginning of a constructed TLV. Until it is left, s must not be
// used.
func (s *scope) enter(tag byte, what string) *scope {
	content, indefinite := s.header(tag, what)
	if indefinite {
		return &scope{decoder: s.decoder, what: what, rest: s.rest, parent: s}
	}
	return &scope{decoder: s.decoder, what: what, rest: content}
}

// leave reads the end of the TLV that enter began. Nothing else may be left.
func (s *scope) leave() {
	switch {
	case s.err != nil:
	case s.parent == nil:
		if len(s.rest) != 0 {
			s.fail("%d bytes too many at the end of %s", len(s.rest), s.what)
		}
	case len(s.rest) < 2 || s.rest[0] != 0 || s.rest[1] != 0:
		s.fail("%s does not end where it should", s.what)
	default:
		s.parent.rest = s.rest[2:]
	}
}

// header reads tag and length, and the content too if the length is definite.
func (s *scope) header(tag byte, what string) (content []byte, indefinite bool) {
	if s.err != nil {
		return nil, false
	}
	b := s.rest
	if len(b) < 2 {
		s.fail("%s is cut off", what)
		return nil, false
	}
	if b[0] != tag {
		s.fail("tag %#02x where %s with tag %#02x should be", b[0], what, tag)
		return nil, false
	}
	n := int(b[1])
	b = b[2:]
	switch {
	case n == 0x80: // X.690 section 8.1.3.6
		s.rest = b
		return nil, true
	case n > 0x80: // long form, section 8.1.3.5; two bytes hold any length up to MaxSize
		size := n & 0x7f
		if size > 2 || size > len(b) {
			s.fail("length of %s takes %d bytes", what, size)
			return nil, false
		}
		n = 0
		for _, c := range b[:size] {
			n = n<<8 | int(c)
		}
		if n < 0x80 || size == 2 && n < 0x100 {
			s.fail("length of %s is not the shortest", what)
			return nil, false
		}
		b = b[size:]
	}
	if n > len(b) {
		s.fail("%s of %d bytes, %d are left", what, n, len(b))
		return nil, false
	}
	s.rest = b[n:]
	return b[:n], false
}

// fail sets the error unless there is one.
func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = malformed(format, args...)
	}
}

// cut keeps what a message shows of hostile bytes short.
func cut(b []byte) []byte { return b[:min(len(b), 16)] }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
}
