package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
	"github.com/nitrolab/nitrolab/emulator/iam/policy/review"
	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// kmsCheck is `nitrolab kms check`.
type kmsCheck struct {
	images []string
	role   string
	key    string
	json   bool
}

func newKMSCheck() *cobra.Command {
	var f kmsCheck
	cmd := &cobra.Command{
		Use:   "check POLICY",
		Short: "Say who gets a key by its policy, and what in the policy is a way around the image",
		Long: `check reads a key policy, or an identity policy, as JSON from the file POLICY; - is
standard input. It plays the requests that matter against it: by the image in
production, by a debug enclave, by another image, and with no document; by other
signers, if PCR8 matters. Columns are the five actions that take a document.

Above the table are findings about the policy itself: statements without a
condition on the attestation, 96 zeros, operators that an absent key fulfils,
values that equal no measurement, actions that lead around the attestation.

Without --eif the images are those that the policy names. With it every image
that is not given counts as another, so give all that may have the key.

What is not known goes the requester's way: an identity policy allows, the
encryption context fits. What is called denied is denied whatever those are.

The exit code is 0 if only the image gets a key; 1 if anything else does, if a
finding is an error, or if an image of --eif gets none; 2 for a mistake in the
arguments or a policy that KMS would not take.`,
		Example: `  nitrolab kms check policy.json --eif app.eif
  aws kms get-key-policy --key-id alias/app --output text | nitrolab kms check -
  nitrolab kms check role-policy.json --key arn:aws:kms:eu-west-1:111122223333:key/…`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("number of arguments is %d; allowed is one POLICY, a file or - for standard input", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.check(cmd.Context(), cmd.InOrStdin(), args[0])
			if err != nil && cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			if err != nil {
				return usageError{err}
			}
			return f.print(cmd.OutOrStdout(), r)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.images, "eif", nil, "image `FILE` that may have the key; may be repeated")
	flags.Func("role", "let only this role ask, `ARN` (default: all whom the policy names)", func(text string) error {
		if !roleARN.MatchString(text) {
			return errors.New("allowed is the form arn:aws:iam::123456789012:role/name")
		}
		f.role = text
		return nil
	})
	flags.Func("key", "`ARN` of the key (default: one that the policy names, or fits)", func(text string) error {
		if !keyARN.MatchString(text) {
			return errors.New("allowed is the form arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab")
		}
		f.key = text
		return nil
	})
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// keyARN is the form of a key's name.
var keyARN = regexp.MustCompile(`^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}$`)

// A kmsCheckResult is what is known of a policy.
type kmsCheckResult struct {
	name     string
	policy   *policy.Policy
	findings []review.Finding
	report   review.Report
	missing  []string // images of --eif that get no key
}

// safe reports whether only the images get a key, and all of them.
func (r *kmsCheckResult) safe() bool {
	return len(r.report.Leaks())+r.errors()+len(r.missing) == 0
}

// errors is the number of findings that are one.
func (r *kmsCheckResult) errors() (n int) {
	for _, f := range r.findings {
		if f.Severity == review.Error {
			n++
		}
	}
	return n
}

func (f *kmsCheck) check(ctx context.Context, stdin io.Reader, name string) (*kmsCheckResult, error) {
	p, err := readPolicy(ctx, stdin, name)
	if err != nil {
		return nil, err
	}
	c := review.Case{Policy: p, KeyARN: f.key}
	if c.KeyARN == "" {
		c.KeyARN = review.KeyOf(p)
	}
	if c.Images, err = f.given(ctx); err != nil {
		return nil, err
	}
	if f.role != "" {
		r, ok := review.NewRequester(f.role, nil)
		if !ok {
			return nil, fmt.Errorf("--role is %q; allowed is the form arn:aws:iam::123456789012:role/name", f.role)
		}
		c.Requesters = []review.Requester{r}
	}
	// A policy of thousands of principals takes seconds.
	return orInterrupted(ctx, func() (*kmsCheckResult, error) {
		r := &kmsCheckResult{name: name, policy: p, findings: review.Policy(p, c.KeyARN), report: review.Table(c)}
		if len(c.Images) > 0 {
			for _, i := range r.report.LockedOut() {
				r.missing = append(r.missing, r.report.Requests[i].Name)
			}
		}
		return r, nil
	})
}

// readPolicy reads a policy and refuses what KMS or IAM would.
func readPolicy(ctx context.Context, stdin io.Reader, name string) (*policy.Policy, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := orInterrupted(ctx, func() ([]byte, error) {
		return io.ReadAll(io.LimitReader(in, policy.MaxSize+1))
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p, err := policy.Parse(text)
	if len(text) > policy.MaxSize {
		err = fmt.Errorf("policy has more than %d bytes", policy.MaxSize)
	}
	if err == nil && p.CheckIdentity() != nil {
		err = p.CheckResource()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// given are the images of --eif, each measured, with names that differ.
func (f *kmsCheck) given(ctx context.Context) ([]review.Image, error) {
	var images []review.Image
	for _, path := range f.images {
		m, err := measure(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("--eif: %w", err)
		}
		printed := oneLine(qemu.Printable([]byte(path)))
		i := review.Image{Name: filepath.Base(printed), PCR0: m.PCR0.String(), PCR1: m.PCR1.String(), PCR2: m.PCR2.String()}
		if m.Signed {
			i.PCR8 = m.PCR8.String()
		}
		if slices.ContainsFunc(images, func(o review.Image) bool { return o.Name == i.Name }) {
			i.Name = printed
		}
		images = append(images, i)
	}
	return images, nil
}
