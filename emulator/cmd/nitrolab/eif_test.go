package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/eif"
)

// keyPair writes a developer's certificate and key.
func keyPair(t testing.TB) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "developer"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// measurements reads what a command printed.
func measurements(t testing.TB, r result) eif.Measurements {
	t.Helper()
	var v struct{ Measurements eif.Measurements }
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != 0 {
		t.Fatalf("exit code %d, %v:\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	return v.Measurements
}

func TestEIFMeasure(t *testing.T) {
	path, m := smallEIF(t)
	r := nitrolab(t, "eif", "measure", "--eif-path", path)
	if diff := cmp.Diff(m, measurements(t, r)); diff != "" {
		t.Errorf("measurements (-want +got):\n%s", diff)
	}
	want := "{\n  \"Measurements\": {\n    \"HashAlgorithm\": \"Sha384 { ... }\",\n    \"PCR0\": \"" + m.PCR0.String() + "\",\n"
	if !strings.HasPrefix(r.stdout, want) {
		t.Errorf("output does not have nitro-cli's form:\n%s", r.stdout)
	}
}

func TestEIFDescribe(t *testing.T) {
	path, m := smallEIF(t)
	r := nitrolab(t, "eif", "describe", "--eif-path", path)
	if diff := cmp.Diff(m, measurements(t, r)); diff != "" {
		t.Errorf("measurements (-want +got):\n%s", diff)
	}
	for _, want := range []string{`"EifVersion": 4`, `"IsSigned": false`, `"CheckCRC": true`, `"ImageName": "app"`, `"BuildTool": "test"`, `"team": "a"`} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %s:\n%s", want, r.stdout)
		}
	}
	// A wrong checksum is a finding here and an error when it matters.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[1000] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := nitrolab(t, "eif", "describe", "--eif-path", path); r.code != 0 || !strings.Contains(r.stdout, `"CheckCRC": false`) {
		t.Errorf("damaged: %+v", r)
	}
	nitrolab(t, "eif", "measure", "--eif-path", path).wantError(t, 1, "eif_crc32 is ")
}

func TestEIFSign(t *testing.T) {
	path, m := smallEIF(t)
	certificate, key := keyPair(t)
	out := filepath.Join(t.TempDir(), "signed.eif")
	r := nitrolab(t, "eif", "sign", "--eif-path", path, "--signing-certificate", certificate, "--private-key", key, "--output-file", out)
	signed := measurements(t, r)
	if !signed.Signed || signed.PCR0 != m.PCR0 || signed.PCR8 == (eif.Digest{}) {
		t.Errorf("measurements %+v", signed)
	}
	if unsigned := measurements(t, nitrolab(t, "eif", "measure", "--eif-path", path)); unsigned.Signed {
		t.Error("with --output-file the image itself was signed")
	}
	r = nitrolab(t, "eif", "describe", "--eif-path", out)
	if r.stderr != "" || !strings.Contains(r.stdout, `"SignatureCheck": true`) || !strings.Contains(r.stdout, "developer") {
		t.Errorf("signed image: %+v", r)
	}
	// In place, and over an earlier signature.
	for range 2 {
		certificate, key := keyPair(t)
		before := measurements(t, nitrolab(t, "eif", "measure", "--eif-path", out))
		after := measurements(t, nitrolab(t, "eif", "sign", "--eif-path", out, "--signing-certificate", certificate, "--private-key", key))
		if after.PCR0 != m.PCR0 || after.PCR8 == before.PCR8 {
			t.Errorf("signed again: %+v", after)
		}
	}
	_, foreign := keyPair(t)
	nitrolab(t, "eif", "sign", "--eif-path", path, "--signing-certificate", certificate, "--private-key", foreign).wantError(t, 1, "key")
	nitrolab(t, "eif", "sign", "--eif-path", path, "--signing-certificate", "/no/such/file", "--private-key", key).
		wantError(t, 1, "--signing-certificate: open /no/such/file: no such file or directory")
	nitrolab(t, "eif", "sign", "--eif-path", path, "--signing-certificate", certificate, "--private-key", "/no/such/file").
		wantError(t, 1, "--private-key: open /no/such/file: no such file or directory")
	nitrolab(t, "eif", "sign", "--eif-path", path).wantError(t, 2, "not set")
}

func TestEIFExtract(t *testing.T) {
	path, _ := smallEIF(t)
	dir := filepath.Join(t.TempDir(), "out")
	r := nitrolab(t, "eif", "extract", "--eif-path", path, "--output-dir", dir)
	if want := "kernel\ncmdline\nmetadata.json\nramdisk0\nramdisk1\n"; r.code != 0 || r.stdout != want {
		t.Fatalf("%+v, want %q", r, want)
	}
	for name, want := range map[string]string{"cmdline": "console=ttyS0", "ramdisk0": "ramdisk 1", "ramdisk1": "ramdisk 2"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	nitrolab(t, "eif", "extract", "--eif-path", path, "--output-dir", dir).wantError(t, 1, "file already exists")
	if r := nitrolab(t, "eif", "extract", "--eif-path", path, "--output-dir", dir, "--force"); r.code != 0 {
		t.Errorf("with --force: %+v", r)
	}
}

func TestEIFErrors(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("junk", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"describe", "measure"} {
		nitrolab(t, "eif", command, "--eif-path", "/no/such/file").wantError(t, 1, "/no/such/file: no such file or directory")
		nitrolab(t, "eif", command, "--eif-path", junk).wantError(t, 1, "eif: ")
		nitrolab(t, "eif", command, "--eif-path", t.TempDir()).wantError(t, 1, "not a regular file")
	}
}

func TestRootCertificate(t *testing.T) {
	alone(t)
	first := nitrolab(t, "root-certificate")
	if first.code != 0 || first.stdout != nitrolab(t, "root-certificate").stdout {
		t.Fatalf("not the same twice: %+v", first)
	}
	subject := func(text string) string {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			t.Fatalf("no PEM: %q", text)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c.Subject.String()
	}
	if s := subject(first.stdout); !strings.Contains(s, "emulated") || strings.Contains(s, "Amazon") {
		t.Errorf("subject %s does not say that it is emulated", s)
	}
	if s := subject(nitrolab(t, "root-certificate", "--aws-names").stdout); !strings.Contains(s, "CN=aws.nitro-enclaves") {
		t.Errorf("subject with --aws-names: %s", s)
	}
	if s := subject(nitrolab(t, "root-certificate", "--services").stdout); !strings.Contains(s, "emulated services root") {
		t.Errorf("subject with --services: %s", s)
	}
	if s := subject(nitrolab(t, "root-certificate", "--identity-documents").stdout); !strings.Contains(s, "emulated instance identity us-east-1") {
		t.Errorf("subject with --identity-documents: %s", s)
	}
	nitrolab(t, "root-certificate", "--services", "--aws-names").wantError(t, 2, "none of the others can be")
	path, err := identityFile()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	nitrolab(t, "root-certificate").wantError(t, 1, path+": unexpected end of JSON input; remove the file to get a new host")
}
