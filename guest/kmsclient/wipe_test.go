package kmsclient

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
)

// A secret that should not have come does not stay.
func TestPlaintextWiped(t *testing.T) {
	secret := []byte("secret")
	if got, err := new(Client).open(answer{plaintext: secret, length: anyLength}, ""); !errors.Is(err, ErrPlaintext) || got != nil {
		t.Errorf("open = %q, %v", got, err)
	}
	if !bytes.Equal(secret, make([]byte, len(secret))) {
		t.Errorf("%q is left", secret)
	}
}

// Nor does the answer that it came in.
func TestBodyWiped(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-served
	}()
	transport := transport{http: new(http.Transport), timeout: DefaultAttemptTimeout}
	defer transport.http.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body := resp.Body.(*wipedBody)
	if got, err := io.ReadAll(body); err != nil || string(got) != "secret" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(body.b, make([]byte, len("secret"))) {
		t.Errorf("%q is left", body.b)
	}
}
