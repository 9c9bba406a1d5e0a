package kernelimage

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// The check is one of those that the kernel's own decoder knows, and whatever is
// wrong is a fault of the image.
func TestUnpackXZ(t *testing.T) {
	content := bytes.Repeat([]byte("kernel "), 1000)
	pack := func(c xz.WriterConfig) []byte {
		t.Helper()
		var b bytes.Buffer
		w, err := c.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	crc32 := pack(xz.WriterConfig{CheckSum: xz.CRC32})
	tests := []struct {
		name   string
		packed []byte
		limit  int
		want   string // "" for what unpacks
	}{
		{"CRC32", crc32, len(content), ""},
		{"no check", pack(xz.WriterConfig{NoCheckSum: true}), len(content), ""},
		{"CRC64", pack(xz.WriterConfig{CheckSum: xz.CRC64}), len(content), "xz check 0x4, which the kernel's own decoder refuses"},
		{"SHA-256", pack(xz.WriterConfig{CheckSum: xz.SHA256}), len(content), "xz check 0xa"},
		{"too long", crc32, len(content) - 1, "more than allowed"},
		{"cut off", crc32[:len(crc32)/2], len(content), "xz "},
		{"cut off early", crc32[:5], len(content), "xz stream header"},
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
