package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/guest/internal/accept"
	"github.com/nitrolab/nitrolab/guest/internal/splice"
)

const (
	// provisionTimeout is longer than the enclave's own limit, whose reason is the
	// better one.
	provisionTimeout = 4 * time.Minute

	maxClients = 64 // carried at a time; the next wait in the listener

	// readyTimeout is how long a port of the enclave may refuse: the heartbeat comes
	// before the application listens.
	readyTimeout = time.Minute
	retryAfter   = 100 * time.Millisecond
)

// A world is what is outside of this program.
type world struct {
	role   func(context.Context) (aws.Credentials, error)
	dial   func(ctx context.Context, cid, port uint32) (net.Conn, error)
	listen func(port uint32) (net.Listener, error)
}

// roleCredentials asks the instance's metadata service.
func roleCredentials(ctx context.Context) (aws.Credentials, error) {
	return ec2rolecreds.New().Retrieve(ctx)
}

func dial(ctx context.Context, cid, port uint32) (net.Conn, error) {
	c, err := vsock.DialContext(ctx, cid, port, nil)
	if err != nil {
		return nil, err // not c: an interface that holds nil is not nil
	}
	return c, nil
}

func listen(port uint32) (net.Listener, error) {
	l, err := vsock.Listen(port, nil)
	if err != nil {
		return nil, err // as above
	}
	return l, nil
}

// provision sends the enclave what it needs, and prints what became of it.
func (w world) provision(ctx context.Context, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, provisionTimeout)
	defer cancel()
	weights, err := readWeights(o.weights)
	if err != nil {
		return err
	}
	c, err := w.role(ctx)
	if err != nil {
		return fmt.Errorf("credentials of the instance's role: %w", err)
	}
	conn, err := w.dialReady(ctx, o.cid, ports.Provision)
	if err != nil {
		return err
	}
	name, err := provision.Send(ctx, conn, provision.Request{
		Credentials: provision.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken},
		Weights:     weights,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "enclave %d runs model %q\n", o.cid, name)
	return err
}

func readWeights(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(provision.MaxWeights)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > provision.MaxWeights {
		return nil, fmt.Errorf("%s has more than %d bytes, which are allowed", path, provision.MaxWeights)
	}
	return text, nil
}

// dialReady connects to an application that is about to listen.
func (w world) dialReady(ctx context.Context, cid, port uint32) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		c, err := w.dial(ctx, cid, port)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to enclave %d port %d: %w", cid, port, errors.Join(err, ctx.Err()))
		case <-time.After(retryAfter):
		}
	}
}

// relay carries connections to the enclave until ctx ends.
func (w world) relay(ctx context.Context, o options, log io.Writer) error {
	l, err := w.listen(o.listen)
	if err != nil {
		return fmt.Errorf("listen on vsock port %d: %w", o.listen, err)
	}
	fmt.Fprintf(log, "inferctl: vsock port %d leads to enclave %d\n", o.listen, o.cid)
	return accept.Serve(ctx, l, maxClients, func(ctx context.Context, client net.Conn) {
		enclave, err := w.dialReady(ctx, o.cid, ports.Inference)
		if err != nil {
			splice.Abort(client)
			return
		}
		_ = splice.Join(ctx, client, enclave) // the client knows
	})
}
