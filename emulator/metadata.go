package emulator

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/imds"
)

// What every instance says of itself. It has no network card that could have
// another address, and no image that came from Amazon.
const (
	privateIP = "172.31.0.10"
	imageID   = "ami-00000000000000001"
)

// Role credentials live as long as those that EC2 gives out, and the next ones come
// as early.
const (
	credentialsLife = 6 * time.Hour
	credentialsRest = 5 * time.Minute
)

// serveMetadata gives the instance its metadata service, at CID 2.
func (i *Instance) serveMetadata() error {
	l, err := i.parent.vsock.Listen(vsock.CIDHost, ports.IMDS)
	if err != nil {
		return fmt.Errorf("metadata service: %w", err)
	}
	// Made when somebody asks: the key that signs identity documents takes a
	// quarter of a second, which is more than a launch can wait for.
	service := sync.OnceValues(i.metadata)
	i.host.services.ServeHandler(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := service()
		if err != nil {
			i.log.Error("metadata service", "err", err)
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		s.ServeHTTP(w, r)
	}))
	return nil
}

func (i *Instance) metadata() (*imds.Service, error) {
	s := i.host.services
	key, cert, err := s.CA().IdentitySigner(i.host.Region())
	if err != nil {
		return nil, err
	}
	cfg := imds.Config{
		InstanceID:       i.ID(),
		Region:           i.host.Region(),
		AvailabilityZone: i.host.Region() + "a",
		InstanceType:     i.cfg.Type,
		ImageID:          imageID,
		AccountID:        s.Account(),
		PrivateIP:        privateIP,
		Role:             i.host.cfg.Role,
		SigningKey:       key,
		Certificate:      cert,
		Clock:            i.host.cfg.Clock,
		Entropy:          i.host.entropy,
		Log:              i.log.With("service", "imds"),
	}
	if cfg.Role != "" {
		c := &roleCredentials{directory: s.IAM(), role: cfg.Role, session: i.ID(), clock: i.host.cfg.Clock}
		cfg.Credentials = c.get
	}
	return imds.New(cfg)
}

// roleCredentials are those of an instance's role, the same ones until they are
// near their end.
type roleCredentials struct {
	directory     *iam.Directory
	role, session string
	clock         func() time.Time

	mu      sync.Mutex
	current imds.Credentials
}

func (c *roleCredentials) get(context.Context) (imds.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if now.Before(c.current.LastUpdated) || !now.Before(c.current.Expiration.Add(-credentialsRest)) {
		issued, err := c.directory.AssumeRole(c.role, c.session, credentialsLife)
		if err != nil {
			return imds.Credentials{}, err
		}
		c.current = imds.Credentials{
			AccessKeyID:     issued.AccessKeyID,
			SecretAccessKey: issued.SecretAccessKey,
			Token:           issued.SessionToken,
			Expiration:      issued.Expires,
			LastUpdated:     now,
		}
	}
	return c.current, nil
}
