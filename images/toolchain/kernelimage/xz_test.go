package kernelimage

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// The check is one of those that the kernel's own decoder knows, and whatever is
// wrong is a fault of the image.
func TestUnpackXZ(t *testing.T) {
	content := bytes.Repeat([]byte("kernel "), 1000)
	good := kernelimagetest.Pack(t, "xz", content)
	check := func(typ byte) []byte {
		b := bytes.Clone(good)
		b[7] = typ
		return b
	}
	tests := []struct {
		name   string
		packed []byte
		limit  int
		want   string // "" for what unpacks
	}{
		{"CRC32", good, len(content), ""},
		{"CRC64", check(0x04), len(content), "xz check 0x4, which the kernel's own decoder refuses"},
		{"SHA-256", check(0x0a), len(content), "xz check 0xa"},
		{"too long", good, len(content) - 1, "more than allowed"},
		{"cut off", good[:len(good)/2], len(content), "xz "},
		{"cut off early", good[:5], len(content), "xz stream header"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := unpackXZ(tt.packed, int64(tt.limit))
			if tt.want == "" {
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				return
			}
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrFormat with %q", err, tt.want)
			}
		})
	}
}
