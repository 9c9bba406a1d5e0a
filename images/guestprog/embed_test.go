//go:build embedguest

package guestprog

import (
	"bytes"
	"context"
	"testing"
)

// With the tag, everything is at hand without a go command and a module.
func TestEmbedded(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", "")
	if !Embedded() {
		t.Fatal("nothing is embedded; run go generate first")
	}
	programs, err := Get(context.Background(), All()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range All() {
		if !bytes.HasPrefix(programs[name], []byte("\x7fELF")) {
			t.Errorf("%s is no program", name)
		}
	}
}
