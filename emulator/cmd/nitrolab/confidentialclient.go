package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/aws/smithy-go"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/channel"
	"github.com/nitrolab/nitrolab/guest/inference/completion"
	modelweights "github.com/nitrolab/nitrolab/guest/model/weights"
)

// demoPrompts is how many of the model's questions the client asks.
const demoPrompts = 2

// ask is the client's part. It knows the measurements of the image, and believes
// nobody on the way.
func (c *confidential) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.host.Timeout(time.Minute))
	defer cancel()
	if _, err := c.agent.Start(fmt.Sprintf("%s relay --cid %d 2>/dev/null", demoCtl, c.enclave.EnclaveCID)); err != nil {
		return err
	}
	conn, err := dialReady(ctx, func() (net.Conn, error) { return c.parent.Dial(ctx, ports.Inference) })
	if err != nil {
		return fmt.Errorf("connect to inferctl relay: %w", err)
	}
	ch, err := channel.Client(ctx, conn, channel.Config{Options: attestation.Options{
		Roots: []*x509.Certificate{c.host.Root()},
		PCRs: map[uint][]byte{
			0: c.measured.PCR0[:], 1: c.measured.PCR1[:], 2: c.measured.PCR2[:], 8: c.measured.PCR8[:],
			nsm.PCRInstance: instancePCR(c.parent.ID()),
		},
		Time: c.host.Now(),
	}, Timeout: c.host.Timeout(answerTimeout)})
	if err != nil {
		return err
	}
	defer ch.Close()
	c.module = ch.Result().Document.ModuleID
	c.demo.say(func(p *printer) {
		p.at("client    channel ends in the enclave: its document names the session's key, a fresh nonce, PCR0, PCR8")
	})
	for _, e := range modelweights.Examples()[:demoPrompts] {
		got, err := completion.Ask(ctx, ch, e.Prompt, completion.MaxCharacters)
		if err != nil {
			return err
		}
		if got != e.Completion {
			return fmt.Errorf("the model answers %q with %q; right is %q", e.Prompt, got, e.Completion)
		}
		c.asked = append(c.asked, modelweights.Example{Prompt: e.Prompt, Completion: got})
		c.demo.say(func(p *printer) { p.more("%s%s", e.Prompt, p.good(got)) })
	}
	return c.audit()
}

// audit looks the release of the key up in the key service's log.
func (c *confidential) audit() error {
	events := c.host.KMS().Events()
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		if e.Name != "Decrypt" || e.ErrorCode != "" || e.Additional == nil || e.Additional.Recipient == nil {
			continue
		}
		if e.Additional.Recipient.ModuleID != c.module {
			return fmt.Errorf("the key went to %s; the client talks to %s", e.Additional.Recipient.ModuleID, c.module)
		}
		c.demo.say(func(p *printer) {
			p.at("audit     Decrypt by parent/%s for %s: the one release of the key", c.parent.ID(), c.module)
		})
		return nil
	}
	return errors.New("the audit log has no release of the key")
}

// dialReady dials until a program that has just been started listens.
func dialReady(ctx context.Context, dial func() (net.Conn, error)) (net.Conn, error) {
	for {
		conn, err := dial()
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awsCode is the code of an error that a service of AWS answered; empty for others.
func awsCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
