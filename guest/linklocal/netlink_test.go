package linklocal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// The bytes are those of a machine with little-endian numbers, as all that Nitro
// runs on are.
func TestNewAddress(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("numbers of this machine are big-endian")
	}
	want := "28000000" + // length 40
		"1400" + "0506" + // RTM_NEWADDR; REQUEST, ACK, EXCL, CREATE
		"07000000" + "00000000" + // number, port id
		"02" + "20" + "80" + "fe" + "01000000" + // AF_INET, /32, permanent, host scope, lo
		"0800" + "0200" + "a9fea9fe" + // IFA_LOCAL
		"0800" + "0100" + "a9fea9fe" // IFA_ADDRESS
	if got := hex.EncodeToString(newAddress(7, netip.MustParseAddr("169.254.169.254"))); got != want {
		t.Errorf("request\n%s, want\n%s", got, want)
	}
}

// ack is an answer of the kernel.
func ack(kind uint16, seq uint32, code int32) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+4)
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[8:], seq)
	binary.NativeEndian.PutUint32(b[16:], uint32(code))
	return b
}

func TestAck(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"done", ack(unix.NLMSG_ERROR, 7, 0), nil},
		{"there already", ack(unix.NLMSG_ERROR, 7, -int32(unix.EEXIST)), unix.EEXIST},
		{"not allowed", append(ack(unix.NLMSG_ERROR, 7, -int32(unix.EPERM)), "the request"...), unix.EPERM},
		{"another number", ack(unix.NLMSG_ERROR, 8, 0), errAnswer},
		{"another kind", ack(unix.NLMSG_DONE, 7, 0), errAnswer},
		{"positive code", ack(unix.NLMSG_ERROR, 7, 17), errAnswer},
		{"no errno", ack(unix.NLMSG_ERROR, 7, -4096), errAnswer},
		{"least number", ack(unix.NLMSG_ERROR, 7, -1<<31), errAnswer},
		{"cut off", ack(unix.NLMSG_ERROR, 7, 0)[:19], errAnswer},
		{"nothing", nil, errAnswer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ackOf(tt.b, 7); !errors.Is(got, tt.want) || (tt.want == nil) != (got == nil) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzAck(f *testing.F) {
	f.Add(ack(unix.NLMSG_ERROR, 7, 0))
	f.Add(ack(unix.NLMSG_ERROR, 7, -1<<31))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) { _ = ackOf(b, 7) })
}
