package kmsclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

const (
	// maxAnswer bounds an answer in bytes. The longest is that of
	// GenerateDataKeyPair, with three blobs of 6144 bytes in base64.
	maxAnswer = 64 << 10

	// maxConns is how many connections the proxy carries at once unless it is told
	// otherwise (--num_workers). More of them would wait there, behind a dial that
	// succeeded.
	maxConns = 4

	maxHeader   = 16 << 10
	idleTimeout = 30 * time.Second // below the proxy's and the service's
)

// A transport sends one attempt at a time, with its own limit of time, and reads
// the answer to its end: what breaks a connection in the middle of a body is then as
// retryable for the SDK as what breaks it before.
type transport struct {
	http    *http.Transport
	timeout time.Duration
}

func newTransport(cfg *Config) *transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &transport{
		timeout: cfg.AttemptTimeout,
		http: &http.Transport{
			// Whatever the name is, there is one way out of an enclave. No proxy
			// of the environment is asked.
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return cfg.Dial(ctx) },
			TLSClientConfig: &tls.Config{
				RootCAs:            cfg.Roots,
				MinVersion:         tls.VersionTLS12,
				InsecureSkipVerify: cfg.Weaken.Off(weaken.ServiceTLS),
			},
			Protocols:              protocols,
			DisableCompression:     true,
			MaxConnsPerHost:        maxConns,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeader,
		},
	}
}

// Do implements kms.HTTPClient. Redirects are not followed: KMS has none.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	count(req.Context())
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	defer cancel()
	resp, err := t.http.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("%w: more than %d bytes", ErrAnswer, maxAnswer)
	}
	if err != nil {
		clear(body)
		return nil, err
	}
	resp.Body = &wipedBody{*bytes.NewReader(body), body}
	return resp, nil
}

// wipedBody clears the answer when it is closed, in case there is a secret in it.
type wipedBody struct {
	bytes.Reader
	b []byte
}

func (w *wipedBody) Close() error {
	clear(w.b)
	return nil
}

type counterKey struct{}

// withCounter lets the transport count the attempts made with the context.
func withCounter(ctx context.Context) (context.Context, *atomic.Int32) {
	n := new(atomic.Int32)
	return context.WithValue(ctx, counterKey{}, n), n
}

func count(ctx context.Context) {
	if n, ok := ctx.Value(counterKey{}).(*atomic.Int32); ok {
		n.Add(1)
	}
}
