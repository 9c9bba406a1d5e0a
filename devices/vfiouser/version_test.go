package vfiouser_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vfiouser"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

func versionPayload(major, minor uint16, capabilities string) []byte {
	b := binary.LittleEndian.AppendUint16(nil, major)
	return append(binary.LittleEndian.AppendUint16(b, minor), capabilities...)
}

func TestVersion(t *testing.T) {
	const (
		all   = `{"capabilities":{"max_msg_fds":16,"write_multiple":true}}` + "\x00"
		fds   = `{"capabilities":{"max_msg_fds":16}}` + "\x00"
		none  = "{}\x00"
		empty = ""
	)
	long := strings.Repeat(" ", 200)
	tests := []struct {
		name         string
		major, minor uint16
		capabilities string
		cfg          *vfiouser.Config
		want         string // capabilities of the reply
		err          error  // or why there is none
	}{
		{"QEMU", 0, 0, vt.QEMUCapabilities + "\x00", nil, all, nil},
		{"QEMU, no multiple writes wanted", 0, 0, vt.QEMUCapabilities + "\x00", &vfiouser.Config{NoWriteMultiple: true}, fds, nil},
		{"later minor", 0, 1, vt.QEMUCapabilities + "\x00", nil, all, nil},
		{"last minor", 0, 0xffff, vt.QEMUCapabilities + "\x00", nil, all, nil},
		{"client without multiple writes", 0, 0, "{}" + long + "\x00", nil, fds, nil},
		{"client that does not want them", 0, 0, `{"capabilities":{"write_multiple":false}}` + long + "\x00", nil, fds, nil},
		{"room for all, exactly", 0, 0, `{"capabilities":{"write_multiple":true}}` + long[:len(all)-41] + "\x00", nil, all, nil},
		{"room for all but one", 0, 0, `{"capabilities":{"write_multiple":true}}` + long[:len(all)-42] + "\x00", nil, fds, nil},
		{"little room", 0, 0, `{"capabilities":{}}` + "\x00", nil, none, nil},
		{"least room", 0, 0, "{}\x00", nil, none, nil},
		{"no room", 0, 0, "1\x00", nil, "", vfiouser.ErrVersion},
		{"no capabilities", 0, 0, "", nil, empty, nil},
		{"others", 0, 0, `{"x":[1,{"y":null}],"capabilities":{"twin_socket":{"supported":true},"max_msg_fds":1e1}}` + "\x00", nil, "", vfiouser.ErrVersion},
		{"others, well", 0, 0, `{"x":[1,{"y":null}],"capabilities":{"twin_socket":{"supported":true},"max_msg_fds":1}}` + "\x00", nil, fds, nil},
		{"other major", 1, 0, vt.QEMUCapabilities + "\x00", nil, "", vfiouser.ErrVersion},
		{"no NUL", 0, 0, vt.QEMUCapabilities, nil, "", vfiouser.ErrVersion},
		{"two NULs", 0, 0, vt.QEMUCapabilities + "\x00\x00", nil, "", vfiouser.ErrVersion},
		{"only NUL", 0, 0, "\x00", nil, "", vfiouser.ErrVersion},
		{"not JSON", 0, 0, "capabilities\x00", nil, "", vfiouser.ErrVersion},
		{"cut JSON", 0, 0, vt.QEMUCapabilities[:100] + "\x00", nil, "", vfiouser.ErrVersion},
		{"a list", 0, 0, "[]\x00", nil, "", vfiouser.ErrVersion},
		{"no descriptors", 0, 0, `{"capabilities":{"max_msg_fds":0}}` + "\x00", nil, "", vfiouser.ErrVersion},
		{"negative descriptors", 0, 0, `{"capabilities":{"max_msg_fds":-1}}` + "\x00", nil, "", vfiouser.ErrVersion},
		{"descriptors as text", 0, 0, `{"capabilities":{"max_msg_fds":"16"}}` + "\x00", nil, "", vfiouser.ErrVersion},
		{"deep", 0, 0, strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + "\x00", nil, "", vfiouser.ErrVersion},
		{"long", 0, 0, "{" + strings.Repeat(" ", 1<<15) + "}\x00", nil, "", vfiouser.ErrVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkLeaks(t)
			c := vt.Serve(t, newDevice(t, nil).f, tt.cfg)
			ask := versionPayload(tt.major, tt.minor, tt.capabilities)
			m := c.Call(vt.Version, ask)
			if tt.err != nil {
				if m.Flags&vt.FlagError == 0 || m.Errno != uint32(unix.EINVAL) {
					t.Errorf("reply %+v, want EINVAL", m)
				}
				ended(t, c, tt.err)
				return
			}
			if m.Flags&vt.FlagError != 0 || len(m.Payload) > len(ask) {
				t.Fatalf("reply %+v with %d bytes to a request of %d", m, len(m.Payload), len(ask))
			}
			if diff := cmp.Diff(versionPayload(0, 0, tt.want), m.Payload); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
			c.Sync()
		})
	}
}

// ended checks that Serve gives up with a ProtocolError of want.
func ended(t *testing.T, c *vt.Client, want error) {
	t.Helper()
	if m, err := c.Receive(); err == nil {
		t.Errorf("another message: %+v", m)
	}
	err := c.Result()
	var pe *vfiouser.ProtocolError
	if !errors.As(err, &pe) || !errors.Is(err, want) {
		t.Errorf("Serve = %v, want a ProtocolError of %q", err, want)
	}
}

// TestVersionFirst: nothing is served before.
func TestVersionFirst(t *testing.T) {
	tests := []request{
		{"short VERSION", vt.Version, []byte{0, 0, 0}, nil, nil, unix.EINVAL},
		{"empty VERSION", vt.Version, nil, nil, nil, unix.EINVAL},
		{"read", vt.RegionRead, vt.Access(7, 0, 4), nil, nil, unix.EINVAL},
		{"map", vt.DMAMap, vt.Mapping(0, 0x1000, 0, 3), nil, nil, unix.EINVAL},
		{"reset", vt.DeviceReset, nil, nil, nil, unix.EINVAL},
		{"unknown", 77, nil, nil, nil, unix.EINVAL},
	}
	for _, r := range tests {
		for _, flags := range []uint32{0, vt.FlagNoReply} {
			t.Run(fmt.Sprintf("%s, flags %#x", r.name, flags), func(t *testing.T) {
				checkLeaks(t)
				d := newDevice(t, nil)
				c := vt.Serve(t, d.f, nil)
				id := c.Send(r.command, flags, r.payload)
				if flags == 0 {
					if m := c.Reply(id, r.command); m.Errno != uint32(r.errno) {
						t.Errorf("reply %+v", m)
					}
				}
				if m, err := c.Receive(); err == nil {
					t.Errorf("another message: %+v", m)
				}
				var pe *vfiouser.ProtocolError
				if err := c.Result(); !errors.As(err, &pe) {
					t.Errorf("Serve = %v, want a ProtocolError", err)
				}
				if d.resets.Load() != 0 {
					t.Error("device was reset")
				}
			})
		}
	}
}

// TestVersionUnanswered: a client that does not want the reply does not get one.
func TestVersionUnanswered(t *testing.T) {
	c := vt.Serve(t, newDevice(t, nil).f, nil)
	c.Send(vt.Version, vt.FlagNoReply, versionPayload(0, 0, ""))
	c.Sync()
}
