package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/kms"
	"github.com/nitrolab/nitrolab/emulator/services"
)

// kmsServe is `nitrolab kms serve`.
type kmsServe struct {
	listen   string
	store    string
	role     string
	audit    string
	awsNames bool
	debug    kms.DebugDocuments
}

func newKMSServe() *cobra.Command {
	var f kmsServe
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the key service on this machine until Ctrl-C",
		Long: `serve is a key service that speaks the protocol of AWS KMS over TLS, for the
SDKs and the AWS CLI as they are. It verifies the attestation documents of
enclaves that nitrolab run-enclave starts on this machine, and evaluates key
policies: a key is released, in CiphertextForRecipient alone, to whom its policy
names.

It goes on until Ctrl-C, and prints shell commands that point clients at it, with
credentials of the account's root user. Keys are kept in memory, or with --store
in a file that only you can read.

An enclave of nitrolab run-enclave reaches it with
  --forward vsock:8000=tcp:ADDRESS
at CID 3, port 8000, where vsock-proxy would be; it connects as
kms.REGION.amazonaws.com, and its image needs the CA that
nitrolab root-certificate --services prints. An instance has a key service of
its own at that name.

What AWS does with documents of debug enclaves is not documented. by-policy
releases to them only what a policy grants because it names the zeros; accept
takes zeros as any other value; refuse takes no such document.`,
		Example: `  nitrolab kms serve --store keys.db
  nitrolab kms serve --listen 127.0.0.1:8443 --audit audit.jsonl`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	f.listen = "127.0.0.1:0"
	flags.Func("listen", "loopback `ADDRESS` to listen at (default 127.0.0.1:0, a free port)", func(text string) error {
		f.listen = text
		return checkLoopback(text)
	})
	flags.StringVar(&f.store, "store", "", "keep keys and policies in `FILE`")
	flags.StringVar(&f.audit, "audit", "", "append the audit log to `FILE`, a JSON object a line in the form of CloudTrail's records")
	flags.Func("role", "`ARN` of a role that policies name; prints credentials of it too", func(text string) error {
		if !roleARN.MatchString(text) {
			return errors.New("allowed is the form arn:aws:iam::123456789012:role/name")
		}
		f.role = text
		return nil
	})
	flags.BoolVar(&f.awsNames, "aws-names", false, "trust documents of enclaves started with --aws-names")
	flags.Func("debug-documents", "what becomes of documents of debug enclaves, `CHOICE` by-policy (default), accept or refuse", func(text string) error {
		for choice, name := range map[kms.DebugDocuments]string{kms.DebugByPolicy: "by-policy", kms.DebugAccept: "accept", kms.DebugRefuse: "refuse"} {
			if text == name {
				f.debug = choice
				return nil
			}
		}
		return errors.New("allowed are by-policy, accept, refuse")
	})
	return cmd
}

func (f *kmsServe) run(cmd *cobra.Command) (err error) {
	l, err := listenLoopback(cmd.Context(), f.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	id, err := hostIdentity()
	if err != nil {
		return err
	}
	authority, err := hostAuthority(id, namesFlag(f.awsNames))
	if err != nil {
		return err
	}
	audit, err := openAudit(f.audit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, audit.close()) }()
	s, err := f.services(cmd, id, authority, audit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := findPlaces()
	if err != nil {
		return err
	}
	dir, err := guard.TempDir(p.state, "kms")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	text, err := kmsEnvironment(s, l.Addr(), id.Region, f.role, dir.Path())
	if err != nil {
		return err
	}
	s.Serve(l)
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return err
	}
	<-cmd.Context().Done() // Ctrl-C is how it ends
	return nil
}

func (f *kmsServe) services(cmd *cobra.Command, id emulator.Identity, a *attestation.Authority, audit *auditFile) (*services.Services, error) {
	return services.New(services.Config{
		Region: id.Region,
		Seed:   id.Seed,
		Roots:  []*x509.Certificate{a.Root()},
		Role:   f.role,
		KMS:    services.KMSConfig{Store: f.store, Debug: f.debug, Audit: audit.write},
		Log:    slog.New(lineHandler{slog.LevelWarn, func(l string) { fmt.Fprintln(cmd.ErrOrStderr(), l) }}),
	})
}
