package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxDocumentText bounds what is read as a document. The largest one has 12 KiB
// and doubles as hexadecimal text.
const maxDocumentText = 64 << 10

// readDocument takes raw bytes, and the texts that people paste.
func readDocument(ctx context.Context, stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("document: %w", err)
		}
		defer f.Close()
		in = f
	}
	// A person, or a pipe, may take any time.
	raw, err := orInterrupted(ctx, func() ([]byte, error) {
		return io.ReadAll(io.LimitReader(in, maxDocumentText+1))
	})
	if err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	if len(raw) > maxDocumentText {
		return nil, fmt.Errorf("document has more than %d bytes", maxDocumentText)
	}
	text := strings.Join(strings.Fields(string(raw)), "")
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString,
		base64.StdEncoding.DecodeString,
		base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString,
		base64.RawURLEncoding.DecodeString,
	} {
		if b, err := decode(text); err == nil && len(b) > 0 {
			return b, nil
		}
	}
	return raw, nil
}
