package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/images/eif"
	kit "github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

// smallEIF writes a correct image of a few kilobytes that boots nowhere.
func smallEIF(t testing.TB) (path string, m eif.Measurements) {
	t.Helper()
	k := kit.Kernel{Release: "6.12.0"}
	section := func(b string) *io.SectionReader { return io.NewSectionReader(strings.NewReader(b), 0, int64(len(b))) }
	path = filepath.Join(t.TempDir(), "app.eif")
	m, err := eif.BuildFile(path, eif.Spec{
		Arch:     eif.X86_64,
		Kernel:   section(string(kit.BzImage(k.Release, kit.Payload(t, "gzip", k.ELF(t))))),
		Cmdline:  "console=ttyS0",
		Ramdisks: []*io.SectionReader{section("ramdisk 1"), section("ramdisk 2")},
		Metadata: eif.Metadata{
			ImageName: "app", ImageVersion: "2",
			Build: &eif.BuildMetadata{BuildTool: "test"}, CustomMetadata: []byte(`{"team":"a"}`),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return path, m
}

// A signed document of this machine's Host, over smallEIF.
type document struct {
	raw  []byte
	file string // with the raw bytes
	eif  string
	m    eif.Measurements
}

// newDocument makes one as an enclave would get it, at the given time.
func newDocument(t testing.TB, at time.Time, edit func(*attestation.Claims)) document {
	t.Helper()
	id, err := hostIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return newDocumentOf(t, id, at, edit)
}

func newDocumentOf(t testing.TB, id emulator.Identity, at time.Time, edit func(*attestation.Claims)) document {
	t.Helper()
	var d document
	d.eif, d.m = smallEIF(t)
	authority, err := attestation.NewAuthority(attestation.Config{
		Entropy: bytes.NewReader(id.Seed), Clock: func() time.Time { return at },
	})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := authority.Enclave(attestation.EnclaveID{InstanceID: id.InstanceID, SlotUID: 7, Region: id.Region})
	if err != nil {
		t.Fatal(err)
	}
	claims := attestation.Claims{
		PCRs:  map[uint][]byte{0: d.m.PCR0[:], 1: d.m.PCR1[:], 2: d.m.PCR2[:], 4: make([]byte, 48)},
		Nonce: []byte{0x8c, 0x31}, UserData: []byte("data"),
	}
	if edit != nil {
		edit(&claims)
	}
	if d.raw, err = issuer.Document(claims); err != nil {
		t.Fatal(err)
	}
	d.file = filepath.Join(t.TempDir(), "doc.cbor")
	if err := os.WriteFile(d.file, d.raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestVerifyCommand(t *testing.T) {
	alone(t)
	now := time.Now()
	good := newDocument(t, now, nil)
	pcr0 := good.m.PCR0.String()
	debug := newDocument(t, now, func(c *attestation.Claims) {
		for i := range c.PCRs {
			c.PCRs[i] = make([]byte, 48)
		}
	})
	old := newDocument(t, now.Add(-24*time.Hour), nil)
	stranger, err := emulator.NewIdentity(nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := newDocumentOf(t, stranger, now, nil)
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, []byte(nitrolab(t, "root-certificate").stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, append(bytes.Clone(good.raw[:len(good.raw)-1]), good.raw[len(good.raw)-1]^1), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want []string // in the output
	}{
		{"accepted", []string{good.file, "--eif-path", good.eif, "--nonce", "8c31"}, 0,
			[]string{"signature   ok", "PCR0        ok", "PCR1        ok", "PCR2        ok", "nonce       ok", "\naccepted\n"}},
		{"root given", []string{good.file, "--eif-path", good.eif, "--root", root}, 0, []string{"accepted"}},
		{"one PCR", []string{good.file, "--pcr", "0=" + pcr0}, 0, []string{"PCR0        ok", "accepted"}},
		{"the same PCR twice", []string{good.file, "--pcr", "0=" + pcr0, "--pcr", "0=" + pcr0, "--eif-path", good.eif}, 0, []string{"accepted"}},
		{"any PCR", []string{good.file, "--any-pcr"}, 0, []string{"accepted"}},
		{"user data", []string{good.file, "--any-pcr", "--user-data", hex.EncodeToString([]byte("data"))}, 0, []string{"user_data   ok"}},
		{"fresh", []string{good.file, "--any-pcr", "--max-age", "1h"}, 0, []string{"freshness   ok"}},
		{"old, at its own time", []string{old.file, "--any-pcr", "--at", "document"}, 0, []string{"accepted"}},
		{"old, at a time", []string{old.file, "--any-pcr", "--at", now.Add(-23 * time.Hour).Format(time.RFC3339)}, 0, []string{"accepted"}},

		{"other nonce", []string{good.file, "--any-pcr", "--nonce", "8c32"}, 1, []string{"nonce       FAIL", "8c32", "8c31", "\nrefused: 1 of "}},
		{"nonce expected to be empty", []string{good.file, "--any-pcr", "--nonce", ""}, 1, []string{"nonce       FAIL"}},
		{"other PCR", []string{good.file, "--pcr", "0=" + strings.Repeat("ab", 48)}, 1, []string{"PCR0        FAIL", "refused: 1 of "}},
		{"PCR that is not there", []string{good.file, "--pcr", "31=" + strings.Repeat("ab", 48)}, 1, []string{"PCR31       FAIL"}},
		{"debug mode", []string{debug.file, "--eif-path", good.eif}, 1, []string{"debug       FAIL", "PCR0        FAIL", "debug mode"}},
		{"debug mode, any PCR", []string{debug.file, "--any-pcr"}, 1, []string{"debug       FAIL"}},
		{"other root", []string{foreign.file, "--any-pcr"}, 1, []string{"chain       FAIL"}},
		{"expired", []string{old.file, "--any-pcr"}, 1, []string{"validity    FAIL"}},
		{"too old", []string{old.file, "--any-pcr", "--max-age", "1s", "--at", now.Add(-23 * time.Hour).Format(time.RFC3339)}, 1, []string{"freshness   FAIL"}},
		{"signature", []string{broken, "--any-pcr"}, 1, []string{"signature   FAIL"}},
		{"no document", []string{good.eif, "--any-pcr"}, 1, []string{"format      FAIL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := nitrolab(t, append([]string{"verify"}, tt.args...)...)
			if r.code != tt.code || r.stderr != "" {
				t.Errorf("exit code %d, standard error %q; want %d", r.code, r.stderr, tt.code)
			}
			for _, w := range tt.want {
				if !strings.Contains(r.stdout, w) {
					t.Errorf("output has no %q:\n%s", w, r.stdout)
				}
			}
			if strings.Contains(r.stdout, "\x1b") {
				t.Error("colour in a pipe")
			}
		})
	}
}

// The forms in which people have documents, from a file and from standard input.
func TestVerifyReads(t *testing.T) {
	alone(t)
	d := newDocument(t, time.Now(), nil)
	wrap := func(s string) string {
		var b strings.Builder
		for i, r := range s {
			b.WriteRune(r)
			if i%64 == 63 {
				b.WriteString("\r\n")
			}
		}
		return b.String() + "\n"
	}
	for name, text := range map[string]string{
		"raw":                    string(d.raw),
		"hexadecimal":            hex.EncodeToString(d.raw),
		"upper case, wrapped":    wrap(strings.ToUpper(hex.EncodeToString(d.raw))),
		"base64":                 base64.StdEncoding.EncodeToString(d.raw),
		"base64, wrapped":        wrap(base64.StdEncoding.EncodeToString(d.raw)),
		"base64 without padding": base64.RawStdEncoding.EncodeToString(d.raw),
		"base64url":              base64.URLEncoding.EncodeToString(d.raw),
		"base64url, no padding":  base64.RawURLEncoding.EncodeToString(d.raw),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "doc")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := nitrolab(t, "verify", path, "--eif-path", d.eif); r.code != 0 {
				t.Errorf("from a file: %+v", r)
			}
			if r := nitrolabReading(t, text, "verify", "-", "--eif-path", d.eif); r.code != 0 {
				t.Errorf("from standard input: %+v", r)
			}
		})
	}
}

// A mistake in the arguments is not a refused document: it has another code.
func TestVerifyMistakes(t *testing.T) {
	alone(t)
	d := newDocument(t, time.Now(), nil)
	text := func(content string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := strings.Repeat("ab", 48)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no file", []string{"/no/such/file", "--any-pcr"}, "document: open /no/such/file: no such file or directory"},
		{"a folder", []string{t.TempDir(), "--any-pcr"}, "is a directory"},
		{"a large file", []string{text(strings.Repeat("x", 64<<10+1)), "--any-pcr"}, "document has more than 65536 bytes"},
		{"no policy", []string{d.file}, "no PCR is expected; give --pcr INDEX=HEX or --eif-path FILE, or --any-pcr to accept any image"},
		{"PCR without value", []string{d.file, "--pcr", "0"}, `--pcr is "0"; allowed is INDEX=HEX with an index of 0 to 31`},
		{"PCR 32", []string{d.file, "--pcr", "32=" + other}, "allowed is INDEX=HEX with an index of 0 to 31"},
		{"short PCR", []string{d.file, "--pcr", "0=abcd"}, `--pcr 0 is "abcd", of 4 characters; allowed are 96 hexadecimal digits`},
		{"PCR that is no number", []string{d.file, "--pcr", "0=" + strings.Repeat("xy", 48)}, `--pcr 0 is "xyxyxyxyxyxyxyxyxyxy…", of 96 characters; allowed are 96 hexadecimal digits`},
		{"PCR with two values", []string{d.file, "--eif-path", d.eif, "--pcr", "0=" + other}, "PCR0 is expected to have two values: "},
		{"nonce", []string{d.file, "--any-pcr", "--nonce", "8c3"}, `--nonce is "8c3"; allowed is an even number of hexadecimal digits`},
		{"user data", []string{d.file, "--any-pcr", "--user-data", "xy"}, `--user-data is "xy"; allowed is an even number of hexadecimal digits`},
		{"public key", []string{d.file, "--any-pcr", "--public-key", "0x12"}, `--public-key is "0x12"; allowed is an even number of hexadecimal digits`},
		{"age 0", []string{d.file, "--any-pcr", "--max-age", "0"}, "--max-age is 0s; allowed are times above 0, such as 5m"},
		{"age negative", []string{d.file, "--any-pcr", "--max-age", "-5m"}, "--max-age is -5m0s; allowed are times above 0, such as 5m"},
		{"age at the document's time", []string{d.file, "--any-pcr", "--max-age", "5m", "--at", "document"}, "--at is document and --max-age is given; allowed is one of them"},
		{"time", []string{d.file, "--any-pcr", "--at", "yesterday"}, `--at is "yesterday"; allowed are document and a time such as`},
		{"no root file", []string{d.file, "--any-pcr", "--root", "/no/such/file"}, "--root: open /no/such/file: no such file or directory"},
		{"root that is none", []string{d.file, "--any-pcr", "--root", text("no certificate")}, "--root "},
		{"no image", []string{d.file, "--eif-path", "/no/such/file"}, "--eif-path: "},
		{"image that is none", []string{d.file, "--eif-path", d.file}, "--eif-path: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nitrolab(t, append([]string{"verify"}, tt.args...)...).wantError(t, 2, tt.want)
		})
	}
}

// Without a root on a machine that never had a Host there is nothing to trust,
// and none is made up.
func TestVerifyWithoutHost(t *testing.T) {
	alone(t)
	d := newDocument(t, time.Now(), nil)
	if err := os.RemoveAll(os.Getenv("XDG_STATE_HOME")); err != nil {
		t.Fatal(err)
	}
	nitrolab(t, "verify", d.file, "--any-pcr").wantError(t, 2, "--root is missing, and no enclave was ever started on this machine that could have made the document")
	if _, err := os.Stat(os.Getenv("XDG_STATE_HOME")); err == nil {
		t.Error("verify made a host")
	}
}

func TestVerifyJSON(t *testing.T) {
	alone(t)
	d := newDocument(t, time.Now(), nil)
	for nonce, code := range map[string]int{"8c31": 0, "8c32": 1} {
		r := nitrolab(t, "verify", d.file, "--eif-path", d.eif, "--nonce", nonce, "--json")
		var v verdict
		if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != code {
			t.Fatalf("exit code %d, %v:\n%s", r.code, err, r.stdout)
		}
		if v.Accepted != (code == 0) || v.Document == nil || v.Document.PCRs["0"] != d.m.PCR0.String() || len(v.Chain) != 5 {
			t.Errorf("nonce %s: %+v", nonce, v)
		}
		if n := v.Document.Nonce; n == nil || *n != "8c31" || v.Document.PublicKey != nil {
			t.Errorf("nonce %v, public key %v", n, v.Document.PublicKey)
		}
		for _, c := range v.Checks {
			if c.Name == "nonce" && (c.Status == "FAIL") != (code == 1) {
				t.Errorf("check %+v", c)
			}
		}
	}
	// What could not be read has no document.
	r := nitrolabReading(t, "junk!", "verify", "-", "--any-pcr", "--json")
	if r.code != 1 || strings.Contains(r.stdout, `"document"`) || !strings.Contains(r.stdout, `"accepted": false`) {
		t.Errorf("junk: %+v", r)
	}
}

// Ctrl-C ends the wait for a document, which may never come.
func TestVerifyInterrupted(t *testing.T) {
	alone(t)
	nitrolab(t, "root-certificate")
	in, never := io.Pipe()
	defer never.Close() // or its reader would be left
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = never.Write([]byte("x")) // returns when it is read
		cancel(signalError{syscall.SIGINT})
	}()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"verify", "-", "--any-pcr"}, in, &stdout, &stderr)
	if code != 130 || stderr.String() != "nitrolab: interrupted\n" || stdout.Len() > 0 {
		t.Errorf("exit code %d, %q, %q", code, stdout.String(), stderr.String())
	}
}

func FuzzParsePCR(f *testing.F) {
	f.Add("0=" + strings.Repeat("ab", 48))
	f.Add("=")
	f.Fuzz(func(t *testing.T, text string) {
		i, value, err := parsePCR(text)
		if err == nil && (i > 31 || len(value) != 48) {
			t.Errorf("%q is PCR%d of %d bytes", text, i, len(value))
		}
	})
}
