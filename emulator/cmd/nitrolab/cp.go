package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newCP() *cobra.Command {
	return &cobra.Command{
		Use:   "cp SOURCE DESTINATION",
		Short: "Copy a file into or out of an instance",
		Long: `cp copies one file. Of SOURCE and DESTINATION one is INSTANCE:PATH, where INSTANCE
is an id, the beginning of one or a name, and the other a file here. - is standard
input or output. DESTINATION may be a folder. Permissions are kept. A relative
PATH begins at /, where the shells of an instance begin.

An enclave of run-enclave, whose image has nitrolab's agent, will do as well.`,
		Example: `  nitrolab cp app.eif web:/srv/
  nitrolab cp web:/var/log/nitro_enclaves/nitro_enclaves.log .
  nitrolab cp web:/srv/doc.cbor - | nitrolab verify - --eif-path app.eif`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("number of arguments is %d; allowed are SOURCE and DESTINATION", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			source, destination := parsePlace(args[0]), parsePlace(args[1])
			switch {
			case source.guest == "" && destination.guest == "":
				return usagef("both %q and %q are here; one has to be of the form INSTANCE:PATH", args[0], args[1])
			case source.guest != "" && destination.guest != "":
				return usagef("both %q and %q are in a guest; one has to be here", args[0], args[1])
			case source.path == "":
				return usagef("path of %q is empty; allowed is INSTANCE:PATH", args[0])
			}
			if source.guest != "" {
				return copyOut(cmd.Context(), cmd.OutOrStdout(), source, destination.path)
			}
			return copyIn(cmd.Context(), cmd.InOrStdin(), source.path, destination)
		},
	}
}

// A place is a path in a guest, or here if guest is empty.
type place struct{ guest, path string }

// parsePlace tells a path from INSTANCE:PATH: what has a slash in front of its colon
// is a path.
func parsePlace(text string) place {
	guest, p, ok := strings.Cut(text, ":")
	if !ok || guest == "" || strings.Contains(guest, "/") {
		return place{path: text}
	}
	return place{guest, p}
}
