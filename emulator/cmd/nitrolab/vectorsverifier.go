package main

import (
	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/vectors/run/protocol"
)

func newVectorsVerifier() *cobra.Command {
	return &cobra.Command{
		Use:   "verifier",
		Short: "Be a verifier that nitrolab vectors run --jsonl can drive",
		Long: `verifier reads requests, one JSON object a line, from standard input and writes
replies to standard output until the input ends. It is nitrolab's own verifier,
and an example of the protocol.

A request has these members; those that a case does not expect are absent, and
one that a verifier does not know it ignores:

  id               number, to be repeated in the reply
  document         base64
  time             time of verification, RFC 3339
  archive          true: verify at the time that the document states
  roots            PEM texts of the roots to trust; with none nothing may pass
  pcrs             expected registers, {"0":"HEX",...}; with none nothing may pass
  nonce, user_data, public_key
                   expected values, hexadecimal; "" is an empty byte string
  max_age_seconds  greatest age of the document

A reply is {"id":1,"verdict":"accept"}, or {"id":1,"verdict":"reject"} with a
"reason" for people if there is one.
The next request comes when it was read. A verifier that ends or says something
else has crashed, fails that case and is started again for the next one.`,
		Example: `  nitrolab vectors run --jsonl -- nitrolab vectors verifier`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := orInterrupted(cmd.Context(), func() (struct{}, error) {
				return struct{}{}, protocol.Serve(cmd.InOrStdin(), cmd.OutOrStdout(), protocol.Verify)
			})
			return err
		},
	}
}
