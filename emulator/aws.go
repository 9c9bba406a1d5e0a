package emulator

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/kms"
	"github.com/nitrolab/nitrolab/emulator/services"
)

// serveOwn makes the services and gives them to the Host in its role of a parent.
func (h *Host) serveOwn() (err error) {
	c := h.cfg
	h.services, err = services.New(services.Config{
		Region: h.Region(), Seed: c.Identity.Seed, Roots: []*x509.Certificate{h.Root()},
		Account: c.Account, Role: c.Role, KMS: c.KMS,
		Clock: c.Clock, Entropy: h.entropy, Log: c.Log, Weaken: c.Weaken,
	})
	if err != nil {
		return err
	}
	if err := h.services.ServeParent(h.own.vsock); err != nil {
		return errors.Join(err, h.own.vsock.Close(), h.services.Close())
	}
	return nil
}

// Services are those that the Host offers its instances under the names of AWS. They
// end with the Host.
func (h *Host) Services() *services.Services { return h.services }

// Account is the AWS account of the Host's instances and keys.
func (h *Host) Account() string { return h.services.Account() }

// KMS is the key service, for its audit log and for faults. Keys are made and used
// through its API: see [Host.AWS].
func (h *Host) KMS() *kms.Service { return h.services.KMS() }

// IAM are the accounts, users and roles that the services know. The root user of
// the Host's account is there, and the role of its instances if it has one.
func (h *Host) IAM() *iam.Directory { return h.services.IAM() }

// ServicesRoot is the CA certificate that clients of the services have to trust.
func (h *Host) ServicesRoot() *x509.Certificate { return h.services.CA().Root() }

// ServicesRootPEM is ServicesRoot as PEM text, for the CA bundle of an enclave
// image. An instance gets it when it is launched.
func (h *Host) ServicesRootPEM() []byte { return h.services.CA().RootPEM() }

// AWS is what a stock client of the SDK needs to use the services as who holds the
// credentials: kms.NewFromConfig(host.AWS(c)). The connections do not leave the
// process.
func (h *Host) AWS(c iam.Credentials) aws.Config {
	return h.services.Client(c, h.DialAWS)
}

// DialAWS opens a connection to the services, which speak TLS.
func (h *Host) DialAWS(ctx context.Context) (net.Conn, error) {
	return h.own.dial(ctx, vsock.CIDParent, vsock.CIDHost, ports.AWS)
}

// ProxyKMS does for the Host in its role of a parent what vsock-proxy does in an
// instance: enclaves reach the key service at CID 3, port 8000. Closing what it
// returns ends that and cuts the connections.
func (h *Host) ProxyKMS() (io.Closer, error) {
	l, err := h.Listen(ports.KMSProxy)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &proxy{listener: l, cancel: cancel}
	p.done.Go(func() {
		if err := vsock.Forward(ctx, l, h.DialAWS); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			h.cfg.Log.Warn("proxy to the key service ended", "err", err)
		}
	})
	return p, nil
}

// proxy is what ProxyKMS runs.
type proxy struct {
	listener net.Listener
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// Close implements [io.Closer].
func (p *proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.done.Wait()
	if err = ignoreClosed(err); err != nil {
		return fmt.Errorf("close the proxy to the key service: %w", err)
	}
	return nil
}
