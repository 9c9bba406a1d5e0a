package kmsclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/nitrolab/nitrolab/guest/kmsclient"
)

const (
	region = "us-east-1"
	host   = "kms.us-east-1.amazonaws.com"
	keyARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" // AWS's documentation uses it
)

// recipientKey is that of all clients here; making one takes a while.
var recipientKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// An authority issues the certificates of a fake service.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// The clock of a synctest bubble begins in 2000.
var begin = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)

func newAuthority() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: begin, NotAfter: begin.AddDate(200, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{key, certificate}
}

// trusted is the authority that clients know, and stranger one that they do not.
var trusted, stranger = newAuthority(), newAuthority()

func (a *authority) issue(name string, notAfter time.Time) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: begin, NotAfter: notAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A request is what a fake service got.
type request struct {
	Target, Host, Proto, Authorization string
	Body                               map[string]any
}

// A reply answers one request.
type reply func(w http.ResponseWriter, r *http.Request)

// A service is a scripted key service on pipes. Its replies go out one by one; the
// last one stays.
type service struct {
	config  tls.Config
	replies []reply
	pipe    func() (ours, theirs net.Conn)

	mu       sync.Mutex // protects what follows
	requests []request

	conns  chan net.Conn
	closed chan struct{}
	server *http.Server
	served chan error
}

// serve starts a service for the calling test, with the certificate that clients
// expect unless change says otherwise. The test ends it.
func serve(t *testing.T, change func(*tls.Config), replies ...reply) *service {
	t.Helper()
	s := &service{replies: replies, pipe: net.Pipe, conns: make(chan net.Conn), closed: make(chan struct{}), served: make(chan error, 1)}
	s.config.Certificates = []tls.Certificate{trusted.issue(host, begin.AddDate(200, 0, 0))}
	s.config.NextProtos = []string{"h2", "http/1.1"} // the client must not take h2
	if change != nil {
		change(&s.config)
	}
	s.server = &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { s.served <- s.server.Serve(tls.NewListener(s, &s.config)) }()
	t.Cleanup(func() {
		s.server.Close()
		if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
	})
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := request{Target: r.Header.Get("X-Amz-Target"), Host: r.Host, Proto: r.Proto, Authorization: r.Header.Get("Authorization")}
	if err := json.NewDecoder(r.Body).Decode(&got.Body); err != nil {
		panic(err)
	}
	s.mu.Lock()
	i := min(len(s.requests), len(s.replies)-1)
	s.requests = append(s.requests, got)
	s.mu.Unlock()
	s.replies[i](w, r)
}

// got are the requests so far.
func (s *service) got() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.requests...)
}

// Accept, Close and Addr implement net.Listener.
func (s *service) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *service) Close() error {
	close(s.closed)
	return nil
}

func (s *service) Addr() net.Addr { return &net.UnixAddr{Name: "service", Net: "pipe"} }

// dial connects to the service.
func (s *service) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := s.pipe()
	select {
	case s.conns <- theirs:
		return ours, nil
	case <-s.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// config is that of a client of s, which may be nil.
func config(s *service) kmsclient.Config {
	roots := x509.NewCertPool()
	roots.AddCert(trusted.certificate)
	cfg := kmsclient.Config{
		Region: region, Roots: roots, Key: recipientKey(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret, SessionToken: "token"}, nil
		}),
		Attest: func(_ context.Context, publicKey []byte) ([]byte, error) {
			return append([]byte("document over "), publicKey...), nil
		},
	}
	if s != nil {
		cfg.Dial = s.dial
	}
	return cfg
}

// client makes a client that the test closes.
func client(t *testing.T, cfg kmsclient.Config) *kmsclient.Client {
	t.Helper()
	c, err := kmsclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// object answers with a JSON object.
func object(members map[string]any) reply {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(members); err != nil {
			panic(err)
		}
	}
}

// exception answers with an error of the service.
func exception(status int, code, message string) reply {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Requestid", "5c0ffee5")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(map[string]string{"__type": code, "Message": message}); err != nil {
			panic(err)
		}
	}
}

// reset breaks the connection before an answer.
func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// cutOff breaks the connection in the middle of an answer.
func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	io.WriteString(w, `{"KeyId":"`)
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(err)
	}
	panic(http.ErrAbortHandler)
}

// silent does not answer as long as the client waits, nor then.
func silent(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}
