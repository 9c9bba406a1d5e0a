package imds

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
)

const identityPath = "/latest/dynamic/instance-identity/"

// unwrap reads base64 in lines as clients get it, and looks at the lines.
func unwrap(t *testing.T, text string) []byte {
	t.Helper()
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if len(line) > 76 || line == "" || i < len(lines)-1 && len(line) != 76 {
			t.Errorf("line %d has %d columns", i, len(line))
		}
	}
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignature(t *testing.T) {
	s := service(t)
	doc := get(t, s, identityPath+"document")
	sum := sha256.Sum256([]byte(doc))
	if err := rsa.VerifyPKCS1v15(&signer().key.PublicKey, crypto.SHA256, sum[:], unwrap(t, get(t, s, identityPath+"signature"))); err != nil {
		t.Error(err)
	}
}

// The library that most verifiers in Go use, given the certificate as they do.
func TestPKCS7Library(t *testing.T) {
	s := service(t)
	for _, name := range []string{"pkcs7", "rsa2048"} {
		der := unwrap(t, get(t, s, identityPath+name))
		p, err := pkcs7.Parse(der)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(p.Certificates) != 0 {
			t.Errorf("%s: %d certificates came with the signature", name, len(p.Certificates))
		}
		if got, want := string(p.Content), get(t, s, identityPath+"document"); got != want {
			t.Errorf("%s: content %q, want %q", name, got, want)
		}
		var at time.Time
		if err := p.UnmarshalSignedAttribute(pkcs7.OIDAttributeSigningTime, &at); err != nil || !at.Equal(launched.Truncate(time.Second)) {
			t.Errorf("%s: signed at %v, %v", name, at, err)
		}
		p.Certificates = append(p.Certificates, signer().cert)
		if err := p.Verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p.Content = bytes.Replace(p.Content, []byte("123456789012"), []byte("123456789013"), 1)
		if err := p.Verify(); err == nil {
			t.Errorf("%s: another account is verified", name)
		}
	}
}

// The outer levels have indefinite lengths and the content is in pieces, as in the
// answers of AWS; what is signed is DER.
func TestSignedDataBytes(t *testing.T) {
	content := []byte("content")
	b, err := signedData(content, signer().cert, signer().key, launched)
	if err != nil {
		t.Fatal(err)
	}
	head := "3080" + "06092a864886f70d010702" + "a080" + // ContentInfo: signedData
		"3080" + "020101" + "310f" + "300d06096086480165030402010500" + // version 1, SHA-256
		"3080" + "06092a864886f70d010701" + "a080" + "2480" + "0407" + hex.EncodeToString(content) + "0000" + "0000" + "0000" +
		"3182" // signers
	if got := hex.EncodeToString(b); !strings.HasPrefix(got, head) {
		t.Errorf("begins with\n%s, want\n%s", got[:min(len(got), len(head))], head)
	}
	if !bytes.HasSuffix(b, make([]byte, 6)) {
		t.Errorf("ends with %x, want three ends of content", b[len(b)-8:])
	}
	attributes := "a069" + // in the order of DER
		"3018" + "06092a864886f70d010903" + "310b" + "06092a864886f70d010701" +
		"301c" + "06092a864886f70d010905" + "310f" + "170d" + hex.EncodeToString([]byte("261123095141Z")) +
		"302f" + "06092a864886f70d010904" + "3122" + "0420"
	if !strings.Contains(hex.EncodeToString(b), attributes) {
		t.Errorf("no signed attributes %s in %x", attributes, b)
	}
}

// The identity document is of one instance.
func TestIdentityDiffers(t *testing.T) {
	a, b := service(t), service(t, func(c *Config) { c.InstanceID = "i-0123456789abcdef1" })
	for _, name := range []string{"document", "signature", "pkcs7", "rsa2048"} {
		if get(t, a, identityPath+name) == get(t, b, identityPath+name) {
			t.Errorf("two instances have one %s", name)
		}
	}
}

// openssl is the program, which is not nitrolab's, so a person may lack it; CI has
// it.
func openssl(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatal("no openssl in PATH: the independent check of signatures did not run; install the package openssl")
	default:
		t.Skip("no openssl in PATH: the independent check of signatures did not run; install the package openssl")
	}
	return ""
}

// What the EC2 User Guide tells people to do ("Verify the instance identity document
// for an Amazon EC2 instance"), with the program it names.
func TestOpenSSL(t *testing.T) {
	program := openssl(t)
	dir := t.TempDir()
	s := service(t)
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), program, args...).Output()
		if err != nil {
			stderr := ""
			if e, ok := err.(*exec.ExitError); ok {
				stderr = string(e.Stderr)
			}
			t.Errorf("openssl %s: %v: %s", strings.Join(args, " "), err, stderr)
		}
		return string(out)
	}
	doc := get(t, s, identityPath+"document")
	cert := file("certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signer().cert.Raw}))
	for _, name := range []string{"pkcs7", "rsa2048"} {
		signed := file(name, []byte("-----BEGIN PKCS7-----\n"+get(t, s, identityPath+name)+"\n-----END PKCS7-----\n"))
		for _, command := range []string{"smime", "cms"} {
			// openssl writes canonical text, with CR LF for line feeds.
			got := run(command, "-verify", "-in", signed, "-inform", "PEM", "-certfile", cert, "-noverify")
			if strings.ReplaceAll(got, "\r\n", "\n") != doc {
				t.Errorf("openssl %s of %s: content %q", command, name, got)
			}
		}
	}
	key := file("key", []byte(run("x509", "-pubkey", "-noout", "-in", cert)))
	signature := file("signature", unwrap(t, get(t, s, identityPath+"signature")))
	if got := run("dgst", "-sha256", "-verify", key, "-signature", signature, file("document", []byte(doc))); got != "Verified OK\n" {
		t.Errorf("openssl dgst: %q", got)
	}
}

// A key whose parts do not belong together, which New does not look for, is a
// failure of the service and no bad signature.
func TestBrokenKey(t *testing.T) {
	broken := *signer().key
	broken.D = new(big.Int).Add(broken.D, big.NewInt(2))
	broken.Precomputed = rsa.PrecomputedValues{}
	var log strings.Builder
	s := service(t, func(c *Config) { c.SigningKey, c.Log = &broken, slog.New(slog.NewTextHandler(&log, nil)) })
	for _, name := range []string{"signature", "pkcs7"} {
		if w := request(t, s, "GET", identityPath+name, tokenHeader, token(t, s)); w.Code != 500 {
			t.Errorf("%s: status %d", name, w.Code)
		}
	}
	if !strings.Contains(log.String(), "sign identity document") {
		t.Errorf("log %q", log.String())
	}
}

// New is in the way of every launch.
func BenchmarkNew(b *testing.B) {
	cfg := config()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(cfg); err != nil {
			b.Fatal(err)
		}
	}
}
