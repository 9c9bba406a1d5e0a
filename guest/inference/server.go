package inference

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/channel"
	"github.com/nitrolab/nitrolab/guest/inference/completion"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/guest/internal/accept"
	"github.com/nitrolab/nitrolab/guest/model"
)

const (
	maxClients = 16 // channels at a time; the next wait in the listener

	// provisionTimeout bounds a request to provision, with its calls of the key
	// service, and idleTimeout the time between two prompts.
	provisionTimeout = 3 * time.Minute
	idleTimeout      = 10 * time.Minute
)

// A Server is the enclave's application. It is safe for concurrent use.
type Server struct {
	log     *slog.Logger
	opener  opener
	channel *channel.Server

	mu    sync.RWMutex
	model *model.Model // nil until the parent has provisioned it
}

// New makes a server, with an RSA key of its own that answers of the key service are
// sealed to.
func New(cfg Config) (*Server, error) {
	if cfg.Attest == nil {
		return nil, errors.New("inference: Attest is required")
	}
	if err := cfg.Settings.check(); err != nil {
		return nil, fmt.Errorf("inference: settings: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("inference: make a key: %w", err)
	}
	ch, err := channel.NewServer(cfg.Attest, nil)
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	s := &Server{log: cfg.Log, opener: opener{cfg: cfg, key: key}, channel: ch}
	// What the key service's client does not take is found now, not when the parent
	// comes.
	client, err := s.opener.client(provision.Credentials{}, weaken.Set{})
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	return s, client.Close()
}

// Serve is Provision and Infer together. It ends when ctx does, or when one of the
// listeners fails, and closes both.
func (s *Server) Serve(ctx context.Context, provisioning, inference net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- s.Provision(ctx, provisioning)
	}()
	err := s.Infer(ctx, inference)
	cancel()
	if err = errors.Join(err, <-ended); err != nil {
		return fmt.Errorf("inference: %w", err)
	}
	return nil
}

// Provision takes requests of the parent on l, one at a time, until ctx ends or l
// fails. A request that fails leaves the model that there was.
func (s *Server) Provision(ctx context.Context, l net.Listener) error {
	return accept.Serve(ctx, l, 1, func(ctx context.Context, c net.Conn) {
		ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
		defer cancel()
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		r, err := provision.ReadRequest(c)
		if err != nil {
			s.log.Info("request to provision", "err", err)
			if errors.Is(err, provision.ErrRequest) {
				_ = provision.WriteReply(c, provision.Reply{Error: &provision.Error{Code: provision.CodeRequest, Text: err.Error()}})
			}
			return
		}
		name, m, failed := s.opener.open(ctx, r)
		if failed != nil {
			s.log.Warn("not provisioned", "code", failed.Code, "err", failed.Text)
		} else {
			s.log.Info("provisioned", "model", name)
			s.replace(m)
		}
		_ = provision.WriteReply(c, provision.Reply{Model: name, Error: failed})
	})
}

// replace puts a model in the place of another, whose weights are wiped when nobody
// uses them any more.
func (s *Server) replace(m *model.Model) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.model != nil {
		s.model.Wipe()
	}
	s.model = m
}

// Infer answers clients on l until ctx ends or l fails.
func (s *Server) Infer(ctx context.Context, l net.Listener) error {
	return accept.Serve(ctx, l, maxClients, func(ctx context.Context, raw net.Conn) {
		c, err := s.channel.Handshake(ctx, raw)
		if err != nil {
			s.log.Info("channel", "err", err)
			return
		}
		defer c.Close()
		for s.answer(ctx, c) == nil {
		}
	})
}

// answer takes one prompt.
func (s *Server) answer(ctx context.Context, c *channel.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	frame, err := c.Receive(ctx)
	if err != nil {
		return err
	}
	reply, err := json.Marshal(s.complete(ctx, frame))
	if err != nil {
		return err
	}
	return c.Send(ctx, reply)
}

func (s *Server) complete(ctx context.Context, frame []byte) completion.Response {
	r, failed := completion.ParseRequest(frame)
	if failed != nil {
		return completion.Response{Error: failed}
	}
	s.mu.RLock() // a model is not wiped under somebody
	defer s.mu.RUnlock()
	if s.model == nil {
		return completion.Response{Error: &completion.Error{Code: completion.CodeNoModel, Text: "the parent has not provisioned this enclave yet"}}
	}
	text, err := s.model.Complete(ctx, r.Prompt, r.Characters)
	var prompt *model.PromptError
	switch {
	case errors.As(err, &prompt):
		return completion.Response{Error: &completion.Error{Code: completion.CodePrompt, Text: err.Error()}}
	case err != nil:
		return completion.Response{Error: &completion.Error{Code: completion.CodeInternal, Text: err.Error()}}
	}
	return completion.Response{Completion: text}
}
