package eif_test

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/eif"
)

func TestExtract(t *testing.T) {
	signer, _ := newSigner(t, elliptic.P384())
	b, _ := build(t, spec(signer))
	im := open(t, b)
	sig, err := im.Signature()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new", "dir")
	names, err := eif.Extract(im, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"kernel", "cmdline", "metadata.json", "ramdisk0", "ramdisk1", "signature.cbor", "signing-certificate.pem", "signature.cose"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	meta, err := im.MetadataJSON()
	if err != nil {
		t.Fatal(err)
	}
	last := im.Sections()[5]
	for name, want := range map[string]string{
		"kernel": "KERN", "cmdline": "quiet", "metadata.json": string(meta), "ramdisk0": "R0", "ramdisk1": "R1!",
		"signature.cbor": string(b[last.Offset+12:]), "signing-certificate.pem": string(sig.CertificatePEM), "signature.cose": string(sig.COSE),
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}

	if err := os.Remove(filepath.Join(dir, "kernel")); err != nil {
		t.Fatal(err)
	}
	if _, err := eif.Extract(im, dir, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want %v", err, fs.ErrExist)
	}
	if _, err := os.Lstat(filepath.Join(dir, "kernel")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused extraction wrote a file")
	}
	if _, err := eif.Extract(im, dir, true); err != nil {
		t.Error(err)
	}
}

// TestExtractNoTraces fails half-way.
func TestExtractNoTraces(t *testing.T) {
	broken := errors.New("disk broken")
	b := golden(t)
	im, err := eif.Open(failAfter{bytes.NewReader(b), 621, broken}, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if names, err := eif.Extract(im, dir, false); !errors.Is(err, broken) || names != nil {
		t.Errorf("names %v, error %v", names, err)
	}
	checkFiles(t, dir)
}

func TestExtractMalformedSignature(t *testing.T) {
	dir := t.TempDir()
	if _, err := eif.Extract(open(t, rawImage(3, 0, secKernel, secCmdline, rawSection{signature, 0, "x"})), dir, false); err != nil {
		t.Fatal(err)
	}
	checkFiles(t, dir, "cmdline", "kernel", "signature.cbor")
}
