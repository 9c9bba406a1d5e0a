package main

import "github.com/spf13/cobra"

// newKMS is the group of commands about the key service.
func newKMS() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kms",
		Short: "The key service: serve it, check a key policy",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKMSCheck(), newKMSServe())
	return cmd
}
