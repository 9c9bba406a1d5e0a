package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// vectorsSeed is the seed unless another one is given: everybody's corpus is the
// same one, so that results can be compared.
var vectorsSeed = sha256.Sum256([]byte("nitrolab attestation vectors"))

func newVectors() *cobra.Command {
	var seed string
	cmd := &cobra.Command{
		Use:   "vectors DIR",
		Short: "Write attestation documents, good and hostile, to try a verifier with",
		Long: `vectors writes a corpus of attestation documents into the folder DIR: documents in
every legal shape, and hostile ones, each wrong in one way, with the verdict that
a correct verifier gives at which time, with which root, PCRs and nonce. Its
README.md has the format. An older corpus in DIR is replaced, anything else is
left alone.

The same seed gives the same bytes. Every key and certificate is emulated.
nitrolab vectors run drives a verifier over the corpus; it needs no DIR.`,
		Example: `  nitrolab vectors ./vectors
  nitrolab vectors run -- ./my-verifier --root={roots} --nonce={nonce}`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("number of arguments is %d; allowed is one DIR, a folder to write, or the command run", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			corpus, err := generateVectors(seed)
			if err != nil {
				return err
			}
			if err := vectors.Write(args[0], corpus); err != nil {
				if errors.Is(err, vectors.ErrNotCorpus) {
					return fmt.Errorf("%w; give an empty folder or a new name", err)
				}
				return err
			}
			newPrinter(cmd.OutOrStdout()).wrote(args[0], corpus)
			return nil
		},
	}
	seedFlag(cmd, &seed)
	cmd.AddCommand(newVectorsRun(), newVectorsVerifier())
	return cmd
}

func seedFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "seed", "", fmt.Sprintf("derive all keys from this `HEX`, of %d bytes or more (default: one that is always the same)", vectors.MinSeed))
}

// parseSeed is the seed of a --seed flag.
func parseSeed(text string) ([]byte, error) {
	if text == "" {
		return vectorsSeed[:], nil
	}
	seed, err := hex.DecodeString(text)
	if err != nil || len(seed) < vectors.MinSeed || len(seed) > maxVectorsSeed {
		return nil, usagef("--seed is %q, of %d characters; allowed are %d to %d hexadecimal digits", shorten(text), len(text), 2*vectors.MinSeed, 2*maxVectorsSeed)
	}
	return seed, nil
}

// maxVectorsSeed bounds what is written into the corpus as its seed, in bytes.
const maxVectorsSeed = 64

func generateVectors(seed string) (*vectors.Corpus, error) {
	s, err := parseSeed(seed)
	if err != nil {
		return nil, err
	}
	return vectors.Generate(s)
}

// wrote says what was written.
func (p *printer) wrote(dir string, c *vectors.Corpus) {
	var good, must int
	groups := map[string]bool{}
	for _, of := range c.Cases {
		groups[of.Group] = true
		if of.Verdict == vectors.Accept {
			good++
		}
		if of.Level == vectors.Must {
			must++
		}
	}
	p.line("%d cases in %d groups, %d of them to be accepted, %d of level must", len(c.Cases), len(groups), good, must)
	p.line("seed %x, documents made at %s", c.Seed, c.Reference.Format("2006-01-02T15:04:05.000Z07:00"))
	p.line("written to %s; README.md there has the format", dir)
}
