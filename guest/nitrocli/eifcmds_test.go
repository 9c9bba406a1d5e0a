package nitrocli_test

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/images/eif"
)

func TestDescribeEIF(t *testing.T) {
	w := newWorld(t)
	image, m := w.image("app.eif", 10, nil)
	r := w.run("describe-eif", "--eif-path", image)
	w.want(r, 0)
	want := fmt.Sprintf(`{
  "EifVersion": 4,
  "Measurements": {
    "HashAlgorithm": "Sha384 { ... }",
    "PCR0": "%s",
    "PCR1": "%s",
    "PCR2": "%s"
  },
  "IsSigned": false,
  "CheckCRC": true,
  "ImageName": "app",
  "ImageVersion": "1.2",
  "Metadata": {
    "BuildTime": "2026-01-02T03:04:05+00:00",
    "BuildTool": "test",
    "BuildToolVersion": "0",
    "OperatingSystem": "Linux",
    "KernelVersion": "6.12",
    "DockerInfo": null
  }
}
`, m.PCR0, m.PCR1, m.PCR2)
	if diff := cmp.Diff(want, r.stdout); diff != "" || r.stderr != "" {
		t.Errorf("standard error %q, output (-want +got):\n%s", r.stderr, diff)
	}
	w.want(w.run("describe-eif", "--eif-path", w.path("none.eif")), 35, "[ E35 ] EIF file parsing error", "none.eif")
	w.want(w.run("describe-eif", "--eif-path", w.write("bad.eif", "no image")), 35, "[ E35 ]")
	w.want(w.run("describe-eif"), 2, "--eif-path <eif-path>")
}

func TestSignEIF(t *testing.T) {
	w := newWorld(t)
	image, m := w.image("app.eif", 10, nil)
	c, k := certificate(t, testTime)
	certificateFile, keyFile := w.write("cert.pem", string(c)), w.write("key.pem", string(k))
	otherC, _ := certificate(t, testTime)
	other := w.write("other.pem", string(otherC))

	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no image", nil, 1, "[ E01 ] Missing mandatory argument. `eif-path` was not given."},
		{"nothing to sign with", []string{"--eif-path", image}, 60, "[ E60 ] Signing error"},
		{"no certificate file", []string{"--eif-path", image, "--signing-certificate", w.path("none"), "--private-key", keyFile}, 60, "signing certificate: open"},
		{"no key file", []string{"--eif-path", image, "--signing-certificate", certificateFile, "--private-key", w.path("none")}, 60, "private key: open"},
		{"key of another", []string{"--eif-path", image, "--signing-certificate", other, "--private-key", keyFile}, 60, "[ E60 ]"},
		{"key in KMS", []string{"--eif-path", image, "--signing-certificate", certificateFile, "--private-key", "arn:aws:kms:us-east-1:123456789012:key/abcd-1234"}, 60, "is in AWS KMS"},
		{"large certificate", []string{"--eif-path", image, "--signing-certificate", w.write("large", strings.Repeat("x", 1<<20+1)), "--private-key", keyFile}, 60, "more than 1048576 bytes"},
		{"no such image", []string{"--eif-path", w.path("none"), "--signing-certificate", certificateFile, "--private-key", keyFile}, 60, "[ E60 ]"},
		{"certificate alone", []string{"--eif-path", image, "--signing-certificate", certificateFile}, 2, "--private-key <private-key>"},
		{"key alone", []string{"--eif-path", image, "--private-key", keyFile}, 2, "--signing-certificate <signing-certificate>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.want(w.run(append([]string{"sign-eif"}, tt.args...)...), tt.code, tt.want)
			after, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			if string(before) != string(after) {
				t.Error("the image changed")
			}
		})
	}

	r := w.run("sign-eif", "--eif-path", image, "--signing-certificate", certificateFile, "--private-key", keyFile)
	w.want(r, 0, "Enclave Image successfully signed.\n")
	got := decode[eif.BuildInfo](t, r.stdout)
	if !got.Measurements.Signed || got.Measurements.PCR0 != m.PCR0 {
		t.Errorf("measurements %+v", got)
	}
	// What pcr says of the certificate is what the image has.
	r = w.run("pcr", "--signing-certificate", certificateFile)
	w.want(r, 0)
	if want := fmt.Sprintf("{\n  \"PCR8\": \"%s\"\n}\n", got.Measurements.PCR8); r.stdout != want {
		t.Errorf("pcr is %s, want %s", r.stdout, want)
	}
	r = w.run("describe-eif", "--eif-path", image)
	w.want(r, 0)
	if !strings.Contains(r.stdout, `"SignatureCheck": true`) {
		t.Errorf("describe-eif:\n%s", r.stdout)
	}
}

func TestPCR(t *testing.T) {
	w := newWorld(t)
	file := w.write("file", "any bytes")
	r := w.run("pcr", "--input", file)
	w.want(r, 0)
	inner := sha512.Sum384([]byte("any bytes"))
	outer := sha512.Sum384(append(make([]byte, 48), inner[:]...))
	if want := "{\n  \"PCR\": \"" + hex.EncodeToString(outer[:]) + "\"\n}\n"; r.stdout != want {
		t.Errorf("pcr is %s, want %s", r.stdout, want)
	}
	// The value that real documents have for PCR2 of an image with one ramdisk.
	r = w.run("pcr", "--input", w.write("empty", ""))
	if !strings.Contains(r.stdout, "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a") {
		t.Errorf("pcr of nothing is %s", r.stdout)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x")})
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	w.want(w.run("pcr", "--input", w.path("none")), 19, "[ E19 ]", "failing operation: 'Open'")
	w.want(w.run("pcr", "--input", w.dir), 19, "failing operation: 'Read'")
	w.want(w.run("pcr", "--signing-certificate", w.path("none")), 19, "[ E19 ]")
	w.want(w.run("pcr", "--signing-certificate", file), 57, "[ E57 ] Hasher error", "no certificate in PEM form")
	w.want(w.run("pcr", "--signing-certificate", w.write("key.pem", string(key))), 57, "[ E57 ]")
	w.want(w.run("pcr", "--signing-certificate", w.write("bad.pem", string(certificate))), 57, "[ E57 ]")
	w.want(w.run("pcr"), 2, "--signing-certificate <signing-certificate>")
	w.want(w.run("pcr", "--input", file, "--signing-certificate", file), 2, "cannot be used with")
}

// On standard error, exit code 0, whatever the code.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	for _, c := range append(failure.Codes(), 61) {
		r := w.run("explain", "--error-code", c.String())
		w.want(r, 0)
		want := failure.Explain(c.String()) + "\n"
		if c == 61 {
			want = "No such error code E61\n"
		}
		if r.stdout != "" || r.stderr != want {
			t.Errorf("%v: standard output %q, standard error %q", c, r.stdout, r.stderr)
		}
	}
	w.want(w.run("explain"), 2, "--error-code <error-code>")
}
