package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator"
)

type verifyFlags struct {
	root      string
	pcrs      []string
	eifPath   string
	anyPCR    bool
	nonce     string
	userData  string
	publicKey string
	maxAge    time.Duration
	at        string
	json      bool

	given func(flag string) bool
}

func newVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify DOCUMENT",
		Short: "Check an attestation document and say which check failed",
		Long: `verify checks an attestation document: structure, signature, certificate chain
up to the pinned root, validity, debug mode, PCRs and the optional fields. Each
check has a line with what was expected and found.

DOCUMENT is a file with the document as raw bytes, base64 or hexadecimal; - is
standard input. Expected byte values are hexadecimal. The exit code is 0 for an
accepted document, 1 for a refused one and 2 for a mistake in the arguments.

Without --root the document must come from an enclave started on this machine
by nitrolab run-enclave. For AWS's own documents give AWS's root certificate.`,
		Example: `  nitrolab verify doc.cbor --eif-path app.eif --nonce 8c31f09a
  nitrolab verify doc.cbor --root root.pem --pcr 0=5c1f…e2 --pcr 2=21b9…0a
  nitrolab verify aws.cbor --root aws-root.pem --pcr 0=… --at document`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("number of arguments is %d; allowed is one DOCUMENT, a file or - for standard input", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.given = cmd.Flags().Changed
			result, err := f.verify(cmd.Context(), cmd.InOrStdin(), args[0])
			if err != nil && cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			if result == nil {
				return usageError{err}
			}
			return f.print(cmd.OutOrStdout(), result)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.root, "root", "", "PEM `FILE` with the root to trust (default: this machine's nitrolab host)")
	flags.StringArrayVar(&f.pcrs, "pcr", nil, "expected register as `INDEX=HEX`; may be repeated")
	flags.StringVar(&f.eifPath, "eif-path", "", "expect PCR0, PCR1, PCR2 (and PCR8 if signed) of this image `FILE`")
	flags.BoolVar(&f.anyPCR, "any-pcr", false, "expect nothing of the PCRs; debug mode is refused all the same")
	flags.StringVar(&f.nonce, "nonce", "", "expected nonce as `HEX`; empty expects an empty one")
	flags.StringVar(&f.userData, "user-data", "", "expected user_data as `HEX`, likewise")
	flags.StringVar(&f.publicKey, "public-key", "", "expected public_key as `HEX`, likewise")
	flags.DurationVar(&f.maxAge, "max-age", 0, "refuse documents older than this `TIME`, such as 5m")
	flags.StringVar(&f.at, "at", "", "verify as of this `TIME` (RFC 3339), or \"document\" for the document's own")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// verify makes every check. Without a result the error is a mistake in the
// arguments; a refused document has its result.
func (f *verifyFlags) verify(ctx context.Context, stdin io.Reader, name string) (*attestation.Result, error) {
	opts, err := f.options(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := readDocument(ctx, stdin, name)
	if err != nil {
		return nil, err
	}
	result, err := attestation.Verify(raw, opts)
	if errors.Is(err, attestation.ErrNoPCRPolicy) {
		return nil, errors.New("no PCR is expected; give --pcr INDEX=HEX or --eif-path FILE, or --any-pcr to accept any image")
	}
	return result, err
}

func (f *verifyFlags) options(ctx context.Context) (attestation.Options, error) {
	opts := attestation.Options{NoPCRPolicy: f.anyPCR, MaxAge: f.maxAge, PCRs: map[uint][]byte{}}
	if f.maxAge < 0 || f.maxAge == 0 && f.given("max-age") {
		return opts, fmt.Errorf("--max-age is %v; allowed are times above 0, such as 5m", f.maxAge)
	}
	var err error
	if opts.Roots, err = f.roots(); err != nil {
		return opts, err
	}
	if f.eifPath != "" {
		if err := expectImage(ctx, opts.PCRs, f.eifPath); err != nil {
			return opts, err
		}
	}
	for _, p := range f.pcrs {
		i, value, err := parsePCR(p)
		if err != nil {
			return opts, err
		}
		if old, ok := opts.PCRs[i]; ok && !bytes.Equal(old, value) {
			return opts, fmt.Errorf("PCR%d is expected to have two values: %x… and %x…", i, old[:4], value[:4])
		}
		opts.PCRs[i] = value
	}
	for _, field := range []struct {
		flag, text string
		into       *[]byte
	}{
		{"nonce", f.nonce, &opts.Nonce},
		{"user-data", f.userData, &opts.UserData},
		{"public-key", f.publicKey, &opts.PublicKey},
	} {
		if !f.given(field.flag) {
			continue
		}
		if *field.into, err = hex.DecodeString(field.text); err != nil {
			return opts, fmt.Errorf("--%s is %q; allowed is an even number of hexadecimal digits", field.flag, field.text)
		}
	}
	switch f.at {
	case "":
	case "document":
		opts.AtDocumentTime = true
		if f.maxAge > 0 {
			return opts, errors.New("--at is document and --max-age is given; allowed is one of them, because at its own time a document has no age")
		}
	default:
		if opts.Time, err = time.Parse(time.RFC3339, f.at); err != nil {
			return opts, fmt.Errorf("--at is %q; allowed are document and a time such as 2026-11-24T10:00:00Z", f.at)
		}
	}
	return opts, nil
}

func (f *verifyFlags) roots() ([]*x509.Certificate, error) {
	if f.root == "" {
		return ownRoots()
	}
	text, err := os.ReadFile(f.root)
	if err != nil {
		return nil, fmt.Errorf("--root: %w", err)
	}
	roots, err := attestation.ParseRoots(text)
	if err != nil {
		return nil, fmt.Errorf("--root %s: %w", f.root, err)
	}
	return roots, nil
}

// ownRoots are those of this machine's Host, under both names. A Host that does
// not exist has issued no document, so none is made.
func ownRoots() ([]*x509.Certificate, error) {
	path, err := identityFile()
	if err != nil {
		return nil, err
	}
	id, err := emulator.ReadIdentity(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("--root is missing, and no enclave was ever started on this machine that could have made the document")
	}
	if err != nil {
		return nil, err
	}
	var roots []*x509.Certificate
	for _, aws := range []bool{false, true} {
		a, err := hostAuthority(id, namesFlag(aws))
		if err != nil {
			return nil, err
		}
		roots = append(roots, a.Root())
	}
	return roots, nil
}

// expectImage adds what the enclave of this image has in its registers.
func expectImage(ctx context.Context, pcrs map[uint][]byte, path string) error {
	m, err := measure(ctx, path)
	if err != nil {
		return fmt.Errorf("--eif-path: %w", err)
	}
	pcrs[0], pcrs[1], pcrs[2] = m.PCR0[:], m.PCR1[:], m.PCR2[:]
	if m.Signed {
		pcrs[8] = m.PCR8[:]
	}
	return nil
}

func parsePCR(text string) (uint, []byte, error) {
	left, right, ok := strings.Cut(text, "=")
	index, err := strconv.ParseUint(left, 10, 8)
	if !ok || err != nil || index > 31 {
		return 0, nil, fmt.Errorf("--pcr is %q; allowed is INDEX=HEX with an index of 0 to 31", text)
	}
	value, err := hex.DecodeString(right)
	if err != nil || len(value) != 48 {
		return 0, nil, fmt.Errorf("--pcr %d is %q, of %d characters; allowed are 96 hexadecimal digits", index, shorten(right), len(right))
	}
	return uint(index), value, nil
}

// shorten keeps a value from filling the screen.
func shorten(text string) string {
	if len(text) > 24 {
		return text[:20] + "…"
	}
	return text
}
