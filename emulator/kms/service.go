package kms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/nitrolab/nitrolab/emulator/sigv4"
)

// A Service is the key service of one region. It is an http.Handler for
// HTTP/1.1, best behind TLS, and safe for concurrent use.
type Service struct {
	cfg      Config
	verifier *sigv4.Verifier
	audit    audit
	faults   faults

	// ctx ends when the Service is closed, and with it whatever a request waits for.
	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex // guards closed, and serving against Add after Wait
	closed  bool
	serving sync.WaitGroup
}

// New makes a Service of cfg. There is nothing running in it: a caller who serves
// it closes the server first and the Service then.
func New(cfg Config) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("new key service: %w", err)
	}
	s := &Service{cfg: cfg, audit: audit{listen: cfg.Audit}}
	s.cfg.Entropy = &serialReader{r: cfg.Entropy}
	s.verifier = &sigv4.Verifier{Region: cfg.Region, Service: "kms", Now: cfg.Clock, Lookup: cfg.Directory.Lookup}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close makes requests that wait for an injected delay end without an answer, and
// waits for those under way. Requests that come later get ServiceUnavailable. The
// Ring stays open.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.serving.Wait()
	return nil
}

// enter counts a request, unless the Service is closed.
func (s *Service) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serving.Add(1)
	return true
}

// A serialReader lets several goroutines share a reader that may not be made for it.
type serialReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (s *serialReader) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := io.ReadFull(s.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // entropy that ends is a failure, not an end
	}
	return n, err
}

// newID gives a version 4 UUID (RFC 9562 section 5.4).
func (s *Service) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.cfg.Entropy, b[:]); err != nil {
		return "", fmt.Errorf("request id: %w", err)
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
