package vsock

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The layout of virtio 1.2 section 5.10.6, byte by byte.
func TestHeaderLayout(t *testing.T) {
	h := Header{
		SrcCID: 0x0807060504030201, DstCID: 0x100f0e0d0c0b0a09,
		SrcPort: 0x14131211, DstPort: 0x18171615, Len: 0x1c1b1a19,
		Type: 0x1e1d, Op: 0x201f, Flags: 0x24232221,
		BufAlloc: 0x28272625, FwdCnt: 0x2c2b2a29,
	}
	var want, got [HeaderSize]byte
	for i := range want {
		want[i] = byte(i + 1)
	}
	h.Encode(&got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
	var back Header
	back.Decode(&want)
	if diff := cmp.Diff(h, back); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestOpString(t *testing.T) {
	for _, tt := range []struct {
		op   Op
		want string
	}{{0, "INVALID"}, {OpRW, "RW"}, {OpCreditRequest, "CREDIT_REQUEST"}, {8, "op(8)"}, {65535, "op(65535)"}} {
		if got := tt.op.String(); got != tt.want {
			t.Errorf("%d: %q, want %q", uint16(tt.op), got, tt.want)
		}
	}
}

func TestAddr(t *testing.T) {
	a := Addr{16, 9000}
	if a.Network() != "vsock" || a.String() != "16:9000" {
		t.Errorf("%s %s", a.Network(), a)
	}
	if got := ConsolePort(16); got != 10016 {
		t.Errorf("console port %d", got)
	}
}
