package vfiouser

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

// FuzzVersion decodes capabilities of a client. They are either refused by ErrVersion
// or lead to an offer that is not longer, is JSON that ends with a NUL, and offers
// nothing that QEMU would refuse.
func FuzzVersion(f *testing.F) {
	for _, s := range []string{
		"", "\x00", "{}\x00", `{"capabilities":{}}` + "\x00", `{"capabilities":null}` + "\x00", "null\x00",
		`{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}` + "\x00",
		`{"capabilities":{"max_msg_fds":0}}` + "\x00", `{"capabilities":{"max_msg_fds":4294967296}}` + "\x00",
		`{"capabilities":{"write_multiple":1}}` + "\x00", `{"capabilities":{"max_msg_fds":1},"capabilities":{"write_multiple":true}}` + "\x00",
		`{"CAPABILITIES":{"Write_Multiple":true}}` + "\x00\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCapabilities(b)
		if err != nil {
			if !errors.Is(err, ErrVersion) {
				t.Errorf("error %v, want ErrVersion", err)
			}
			return
		}
		got := offer(c, len(b))
		if len(got) > len(b) {
			t.Fatalf("offer of %d bytes for %d", len(got), len(b))
		}
		if len(got) == 0 {
			if len(b) > 2 {
				t.Errorf("no offer although there is room for one: %d bytes", len(b))
			}
			return
		}
		text, ok := bytes.CutSuffix(got, []byte{0})
		var offered struct {
			Capabilities struct {
				MaxMsgFDs     *int  `json:"max_msg_fds"`
				WriteMultiple *bool `json:"write_multiple"`
			}
		}
		decode := json.NewDecoder(bytes.NewReader(text))
		decode.DisallowUnknownFields()
		if err := decode.Decode(&offered); err != nil || !ok {
			t.Fatalf("offer %q: %v", got, err)
		}
		if n := offered.Capabilities.MaxMsgFDs; n != nil && *n != maxFDs {
			t.Errorf("offer of %d descriptors", *n)
		}
		if w := offered.Capabilities.WriteMultiple; w != nil && !c.WriteMultiple {
			t.Error("multiple writes are offered to a client without them")
		}
	})
}
