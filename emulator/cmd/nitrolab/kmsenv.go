package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/services"
)

// checkLoopback refuses addresses that other machines reach: whoever can connect to
// a key service can try credentials at it.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return errors.New("allowed is a loopback address with a port, such as 127.0.0.1:8443")
	}
	return nil
}

func listenLoopback(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("key service: %w", err)
	}
	return l, nil
}

// offerKMS lets clients on this machine use the key service of a Host. It returns
// the path of a file of shell commands that point them at it; empty if address is.
func offerKMS(ctx context.Context, host *emulator.Host, role, address string) (env string, err error) {
	if address == "" {
		return "", nil
	}
	l, err := listenLoopback(ctx, address)
	if err != nil {
		return "", err
	}
	text, err := kmsEnvironment(host.Services(), l.Addr(), host.Region(), role, host.Dir())
	if err != nil {
		return "", errors.Join(err, l.Close())
	}
	env = filepath.Join(host.Dir(), "kms.env")
	if err := os.WriteFile(env, []byte(text), 0o600); err != nil {
		return "", errors.Join(err, l.Close())
	}
	host.Services().Serve(l)
	return env, nil
}

// kmsEnvironment is what a shell has to do for clients to find the service, with
// credentials of the account's root user, and as comments with those of a role. The
// CA bundle is written into dir.
func kmsEnvironment(s *services.Services, at net.Addr, region, role, dir string) (string, error) {
	bundle := filepath.Join(dir, "services-ca.pem")
	if err := os.WriteFile(bundle, s.CA().RootPEM(), 0o644); err != nil {
		return "", err
	}
	root, err := s.IAM().CreateAccessKey(iam.RootARN(s.Account()))
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "export AWS_ENDPOINT_URL_KMS=https://%s\n", at)
	fmt.Fprintf(&b, "export AWS_CA_BUNDLE=%s\n", quote(bundle))
	// Python's SDK, and so the AWS CLI, looks at the second one only.
	fmt.Fprintf(&b, "export AWS_REGION=%s\nexport AWS_DEFAULT_REGION=%[1]s\n", region)
	exportCredentials(&b, root, "")
	if role == "" {
		return b.String(), nil
	}
	session, err := s.IAM().AssumeRole(role, "nitrolab", iam.MaxSession)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "# credentials of %s for %v:\n", role, iam.MaxSession)
	exportCredentials(&b, session, "# ")
	return b.String(), nil
}

func exportCredentials(w io.Writer, c iam.Credentials, prefix string) {
	fmt.Fprintf(w, "%[1]sexport AWS_ACCESS_KEY_ID=%[2]s\n%[1]sexport AWS_SECRET_ACCESS_KEY=%[3]s\n", prefix, c.AccessKeyID, c.SecretAccessKey)
	if c.SessionToken != "" {
		fmt.Fprintf(w, "%sexport AWS_SESSION_TOKEN=%s\n", prefix, c.SessionToken)
	}
}
