package vfiouser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// The version of the protocol that is spoken. Minor versions only add.
const (
	versionMajor = 0
	versionMinor = 0
)

// maxCapabilities bounds the JSON of a client. QEMU's has 193 bytes.
const maxCapabilities = 16 << 10

// errNotFirst: nothing can be served before the versions are agreed.
var errNotFirst = fmt.Errorf("%w: first message is not VERSION", ErrVersion)

// capabilities are what a client says of itself, as far as it matters here.
type capabilities struct {
	MaxMsgFDs     *uint32 `json:"max_msg_fds"`
	WriteMultiple bool    `json:"write_multiple"`
}

// version agrees on a version with the client, once.
func (s *session) version(m *message) error {
	if s.negotiated {
		return fmt.Errorf("%w: VERSION again", ErrValue)
	}
	major := uint16(m.u32(0))
	if major != versionMajor {
		return fmt.Errorf("%w: client has %d.%d", ErrVersion, major, m.u32(0)>>16)
	}
	theirs, err := parseCapabilities(m.payload[sizeVersion:])
	if err != nil {
		return err
	}
	if s.cfg.NoWriteMultiple {
		theirs.WriteMultiple = false
	}
	s.out = append32(s.out, versionMajor|versionMinor<<16) // not more than theirs, which cannot be less
	s.out = append(s.out, offer(theirs, len(m.payload)-sizeVersion)...)
	s.negotiated = true
	s.cfg.Messages.connect(s)
	return nil
}

// parseCapabilities decodes what follows the version numbers: nothing, or JSON that
// ends with a NUL.
func parseCapabilities(b []byte) (c capabilities, err error) {
	if len(b) == 0 {
		return c, nil
	}
	if len(b) > maxCapabilities {
		return c, fmt.Errorf("%w: capabilities of %d bytes", ErrVersion, len(b))
	}
	text, ok := bytes.CutSuffix(b, []byte{0})
	if !ok {
		return c, fmt.Errorf("%w: capabilities do not end with a NUL", ErrVersion)
	}
	var all struct {
		Capabilities capabilities `json:"capabilities"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return c, fmt.Errorf("%w: capabilities: %w", ErrVersion, err)
	}
	c = all.Capabilities
	if c.MaxMsgFDs != nil && *c.MaxMsgFDs == 0 {
		return c, fmt.Errorf("%w: max_msg_fds is 0", errors.Join(ErrVersion, ErrDescriptors))
	}
	return c, nil
}

// offers are what this server says of itself, the first that fits. Everything else
// is as the protocol's defaults have it. QEMU sends 8 descriptors at a time if it
// hears nothing, and refuses a server that wants more than 16.
var offers = []struct {
	text          string
	writeMultiple bool
}{
	{`{"capabilities":{"max_msg_fds":16,"write_multiple":true}}`, true},
	{`{"capabilities":{"max_msg_fds":16}}`, false},
	{`{}`, false},
}

// offer returns the capabilities to reply, NUL included, in at most room bytes: QEMU
// receives into the buffer of its request, and loses track of the stream if the reply
// is longer. It may be empty.
func offer(theirs capabilities, room int) []byte {
	for _, o := range offers {
		if o.writeMultiple && !theirs.WriteMultiple || len(o.text)+1 > room {
			continue
		}
		return append([]byte(o.text), 0)
	}
	return nil
}
