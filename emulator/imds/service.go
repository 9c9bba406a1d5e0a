package imds

import (
	"fmt"
	"net/http"
)

// A Service is the metadata service of one instance. It is an [http.Handler] for
// any server; [Service.Serve] is one with the right limits. Its methods may be
// called concurrently.
type Service struct {
	cfg    Config
	tokens tokens
	root   folder
}

// New makes the service of one instance, whose pendingTime is now. Errors name the field of cfg that is wrong.
func New(cfg Config) (*Service, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("metadata service: %w", err)
	}
	s := &Service{cfg: cfg}
	var err error
	if s.tokens, err = newTokens(cfg.Entropy, cfg.Clock); err != nil {
		return nil, fmt.Errorf("metadata service: %w", err)
	}
	s.root = s.tree(newIdentity(cfg))
	return s, nil
}

var _ http.Handler = (*Service)(nil)
