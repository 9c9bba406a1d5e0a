package services

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

// Client is what a stock client of the SDK needs to use the services as who holds
// the credentials: kms.NewFromConfig(s.Client(c, dial)).
func (s *Services) Client(c iam.Credentials, dial func(context.Context) (net.Conn, error)) aws.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.Root())
	return aws.Config{
		Region:      s.cfg.Region,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		HTTPClient: &http.Client{Transport: &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, // or connections would outlive their users
		}},
	}
}
