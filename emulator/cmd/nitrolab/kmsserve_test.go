package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
)

// A served is a `nitrolab kms serve` that runs in this process.
type served struct {
	env  map[string]string
	end  context.CancelFunc
	code chan int
}

var export = regexp.MustCompile(`(?m)^export (AWS_[A-Z_]+)=(.*)$`)

// serveKMS runs the command and reads what it prints.
func serveKMS(t *testing.T, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	s := &served{end: cancel, code: make(chan int, 1)}
	var stderr bytes.Buffer
	go func() {
		s.code <- run(ctx, append([]string{"kms", "serve"}, args...), strings.NewReader(""), in, &stderr)
		in.Close()
	}()
	t.Cleanup(func() { cancel(); out.Close() })
	text := make([]byte, 8<<10)
	n, err := out.Read(text)
	if err != nil {
		t.Fatalf("kms serve %q prints nothing: %v", args, err)
	}
	s.env = exports(string(text[:n]))
	return s
}

// exports are the variables that shell commands set.
func exports(text string) map[string]string {
	env := map[string]string{}
	for _, m := range export.FindAllStringSubmatch(text, -1) {
		env[m[1]] = strings.Trim(m[2], "'")
	}
	return env
}

// client is a stock client as the environment has it.
func (s *served) client(t *testing.T) *awskms.Client {
	t.Helper()
	bundle, err := os.ReadFile(s.env["AWS_CA_BUNDLE"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	return awskms.New(awskms.Options{
		Region:       s.env["AWS_REGION"],
		BaseEndpoint: aws.String(s.env["AWS_ENDPOINT_URL_KMS"]),
		Credentials:  credentials.NewStaticCredentialsProvider(s.env["AWS_ACCESS_KEY_ID"], s.env["AWS_SECRET_ACCESS_KEY"], ""),
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}},
	})
}

// stop is Ctrl-C.
func (s *served) stop(t *testing.T) {
	t.Helper()
	s.end()
	if code := <-s.code; code != 0 {
		t.Errorf("kms serve ends with %d", code)
	}
}

// What is kept in the store opens what was encrypted before, and the audit log has it
// all, and no secret.
func TestKMSServe(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	store, audit := filepath.Join(dir, "keys.db"), filepath.Join(dir, "audit.jsonl")
	first := serveKMS(t, "--store", store, "--audit", audit)
	client := first.client(t)
	key, err := client.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	box, err := client.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: key.KeyMetadata.KeyId, Plaintext: []byte("top secret")})
	if err != nil {
		t.Fatal(err)
	}
	nitrolab(t, "kms", "serve", "--store", store).wantError(t, 1, "keys.db")
	first.stop(t)
	if _, err := os.Stat(first.env["AWS_CA_BUNDLE"]); err == nil {
		t.Error("its folder outlives it")
	}

	second := serveKMS(t, "--store", store)
	got, err := second.client(t).Decrypt(t.Context(), &awskms.DecryptInput{CiphertextBlob: box.CiphertextBlob})
	if err != nil || string(got.Plaintext) != "top secret" {
		t.Errorf("decrypted %q, %v", got.Plaintext, err)
	}
	second.stop(t)

	log, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(log)) {
		var e struct{ EventName string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		names = append(names, e.EventName)
	}
	if strings.Join(names, " ") != "CreateKey Encrypt" || bytes.Contains(log, []byte("top secret")) {
		t.Errorf("audit log of %v:\n%s", names, log)
	}
}

func TestKMSServeErrors(t *testing.T) {
	alone(t)
	nitrolab(t, "kms", "serve", "--listen", "0.0.0.0:0").wantError(t, 2, "allowed is a loopback address with a port")
	nitrolab(t, "kms", "serve", "--role", "x").wantError(t, 2, "allowed is the form arn:aws:iam::123456789012:role/name")
	nitrolab(t, "kms", "serve", "--debug-documents", "maybe").wantError(t, 2, "allowed are by-policy, accept, refuse")
	nitrolab(t, "kms", "serve", "--store", t.TempDir()).wantError(t, 1, "is a directory")
	nitrolab(t, "kms", "serve", "--audit", t.TempDir()).wantError(t, 1, "--audit: ")
}
