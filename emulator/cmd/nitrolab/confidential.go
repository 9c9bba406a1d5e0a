package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guestagent"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/weights"
	"github.com/nitrolab/nitrolab/guest/inference/sealed"
	modelweights "github.com/nitrolab/nitrolab/guest/model/weights"
	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/sample"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// What the second act of the demo is made of.
const (
	demoRole  = "arn:aws:iam::111122223333:role/parent"
	demoAlias = "alias/weights"
	demoModel = "answers"

	demoImage   = "/srv/inference.eif"
	demoWeights = "/srv/weights.sealed"
	demoCtl     = "/srv/inferctl"
)

func demoContext() map[string]string { return map[string]string{"model": demoModel} }

// confidential is the second act of the demo: a model's owner encrypts weights under a
// key that one signed image gets; an instance runs them in an enclave without being
// able to read them; a client talks to the enclave through it.
type confidential struct {
	demo  *demo
	host  *localHost
	tools *toolchain.Toolchain

	owner     *awskms.Client
	image     string
	measured  eif.Measurements
	published weights.Published

	parent  *emulator.Instance
	agent   *guestagent.Client
	enclave runInfo
	module  string // in whose document the client's channel ends
	denied  string // what the key service says to the parent
	asked   []modelweights.Example
}

func (c *confidential) run(ctx context.Context) (err error) {
	c.demo.p.begin()
	c.demo.say(func(p *printer) {
		p.line("")
		p.line("confidential inference: the owner of a model, an instance that runs it, a client")
	})
	if err := c.publish(ctx); err != nil {
		return err
	}
	if err := c.launch(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.agent.Close(), c.parent.Close()) }()
	if err := c.tryAsParent(ctx); err != nil {
		return err
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	return c.ask(ctx)
}

// publish is the owner's part: an image, a key for it, and the weights.
func (c *confidential) publish(ctx context.Context) error {
	c.image = filepath.Join(c.host.Dir(), "inference.eif")
	kernel := bundle.Kernel{Image: c.tools.Kernel.Image, Modules: c.tools.Kernel.ModulesDir}
	spec, err := sample.Inference(ctx, kernel, sample.InferenceConfig{
		Region:  c.host.Region(),
		KeyID:   fmt.Sprintf("arn:aws:kms:%s:%s:%s", c.host.Region(), c.host.Account(), demoAlias),
		Context: demoContext(), CABundle: c.host.ServicesRootPEM(),
	})
	if err != nil {
		return err
	}
	if spec.Signer, err = ownersSigner(c.host.Now()); err != nil {
		return err
	}
	built, err := bundle.Build(ctx, c.image, spec)
	if err != nil {
		return err
	}
	c.measured = built.Measurements
	root, err := c.host.IAM().CreateAccessKey(iam.RootARN(c.host.Account()))
	if err != nil {
		return err
	}
	c.owner = awskms.NewFromConfig(c.host.AWS(root))
	c.published, err = weights.Publish(ctx, c.owner, weights.Release{
		Account: c.host.Account(), Role: demoRole,
		PCRs:    map[uint][]byte{0: c.measured.PCR0[:], 8: c.measured.PCR8[:]},
		Context: demoContext(),
	}, weights.Model{Name: demoModel, Alias: demoAlias, Weights: modelweights.Model()})
	if err != nil {
		return err
	}
	c.demo.say(func(p *printer) {
		p.at("owner     %d kB of weights encrypted under a key for PCR0 %s and PCR8 %s", len(c.published.Sealed)/1000, shortHex(c.measured.PCR0[:]), shortHex(c.measured.PCR8[:]))
	})
	return nil
}

// ownersSigner makes a signing key and a certificate of the day for it.
func ownersSigner(now time.Time) (*eif.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "owner of the model", Organization: []string{"nitrolab demo"}},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return eif.NewKeySigner(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key)
}

// launch starts the parent instance and copies in what it needs.
func (c *confidential) launch(ctx context.Context) error {
	p, err := findPlaces()
	if err != nil {
		return err
	}
	image, err := instanceImage(ctx, c.tools, p.cache)
	if err != nil {
		return err
	}
	if c.parent, err = c.host.Launch(ctx, emulator.InstanceConfig{Image: image}); err != nil {
		return err
	}
	if c.agent, err = c.parent.Agent(ctx); err != nil {
		return errors.Join(err, c.parent.Close())
	}
	i := c.parent.Info()
	c.demo.say(func(p *printer) {
		p.at("instance  %s  %s, %s start, role parent", i.InstanceID, i.InstanceType, warmth(i))
	})
	if err := c.furnish(ctx); err != nil {
		return errors.Join(err, c.agent.Close(), c.parent.Close())
	}
	return nil
}

func (c *confidential) furnish(ctx context.Context) error {
	programs, err := guestprog.Get(ctx, guestprog.InferCtl)
	if err != nil {
		return err
	}
	image, err := os.Open(c.image)
	if err != nil {
		return err
	}
	defer image.Close()
	return errors.Join(
		c.agent.Put(ctx, demoImage, 0o644, image),
		c.agent.Put(ctx, demoWeights, 0o644, bytes.NewReader(c.published.Sealed)),
		c.agent.Put(ctx, demoCtl, 0o755, bytes.NewReader(programs[guestprog.InferCtl])),
	)
}

// tryAsParent asks for the data key as the instance could: with its role, the
// ciphertext, and no document.
func (c *confidential) tryAsParent(ctx context.Context) error {
	session, err := c.host.IAM().AssumeRole(demoRole, c.parent.ID(), iam.MinSession)
	if err != nil {
		return err
	}
	header, err := sealed.ReadHeader(c.published.Sealed)
	if err != nil {
		return err
	}
	_, err = awskms.NewFromConfig(c.host.AWS(session)).Decrypt(ctx, &awskms.DecryptInput{
		KeyId: &c.published.KeyARN, CiphertextBlob: header.WrappedKey, EncryptionContext: header.Context,
	})
	if err == nil {
		return errors.New("the key service gave the key to an instance without a document")
	}
	if c.denied = awsCode(err); c.denied != "AccessDeniedException" {
		return err
	}
	c.demo.say(func(p *printer) {
		p.at("parent    has ciphertext and role; its own Decrypt: %s", p.good(c.denied))
	})
	return nil
}

// start runs the enclave and hands it what it needs.
func (c *confidential) start(ctx context.Context) error {
	if _, err := c.agent.Output(ctx, "nitro-enclaves-allocator"); err != nil {
		return inGuest(err)
	}
	// It ends with the agent's connection.
	if _, err := c.agent.Start(fmt.Sprintf("vsock-proxy %d kms.%s.amazonaws.com 443 2>/dev/null", ports.KMSProxy, c.host.Region())); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.host.Timeout(time.Minute))
	defer cancel()
	out, err := c.agent.Output(ctx, "nitro-cli run-enclave --eif-path "+demoImage+" --memory 256 --cpu-count 2")
	if err != nil {
		return inGuest(err)
	}
	if err := json.Unmarshal(out, &c.enclave); err != nil {
		return fmt.Errorf("nitro-cli run-enclave: %w", err)
	}
	c.demo.say(func(p *printer) { p.at("enclave   %s  CID %d", c.enclave.EnclaveID, c.enclave.EnclaveCID) })
	if _, err := c.agent.Output(ctx, fmt.Sprintf("%s provision --cid %d --weights %s", demoCtl, c.enclave.EnclaveCID, demoWeights)); err != nil {
		return inGuest(err)
	}
	c.demo.say(func(p *printer) {
		p.more("attested; data key in CiphertextForRecipient, through the parent's vsock-proxy, TLS end to end")
	})
	return nil
}

// inGuest is the error of a command in the instance, with what it said.
func inGuest(err error) error {
	var exit *guestagent.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("in the instance: %w: %s", err, printableLine(exit.Stderr))
	}
	return err
}
