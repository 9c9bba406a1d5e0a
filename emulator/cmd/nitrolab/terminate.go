package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/supervisor"
)

// endInfo is one element of what terminate prints with --json.
type endInfo struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Instance   bool   `json:"instance"` // else an enclave
	Enclaves   int    `json:"enclaves"` // that ended with an instance
	Terminated bool   `json:"terminated"`
}

func newTerminate() *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "terminate (INSTANCE | ENCLAVE-ID | NAME)... | --all",
		Short: "End instances, with the enclaves in them, and enclaves",
		Long: `terminate ends instances, with the enclaves in them, and enclaves that were started
with run-enclave. Each is named by its id, the beginning of it, or its name. If
one of them means nothing, nothing is ended.`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return fmt.Errorf("arguments are %q; with --all there are none", args)
			case !all && len(args) == 0:
				return errors.New("nothing is named; allowed are ids or names, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var found []supervisor.Running
			var err error
			if all {
				found, err = listAll(cmd.Context())
			} else {
				found, err = resolve(cmd.Context(), args...)
			}
			if found == nil && err != nil {
				return err
			}
			ended, endErr := end(cmd.Context(), found)
			err = errors.Join(err, endErr)
			if asJSON {
				return errors.Join(printJSON(cmd.OutOrStdout(), ended), err)
			}
			newPrinter(cmd.OutOrStdout()).ended(ended)
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "end everything of this user")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// end ends all at once.
func end(ctx context.Context, list []supervisor.Running) ([]endInfo, error) {
	ended := make([]endInfo, len(list))
	errs := make([]error, len(list))
	var group sync.WaitGroup
	for i, r := range list {
		info := endInfo{ID: r.ID(), Name: r.Name(), Instance: r.Instance != nil}
		if info.Instance {
			info.Enclaves = len(r.Instance.Enclaves)
		}
		group.Go(func() {
			err := r.Terminate(ctx)
			if err != nil && !errors.Is(err, supervisor.ErrGone) { // by itself, or somebody else was faster
				errs[i] = fmt.Errorf("terminate %s: %w", &r.Description, err)
			}
			info.Terminated = errs[i] == nil
			ended[i] = info
		})
	}
	group.Wait()
	return ended, errors.Join(errs...)
}

func (p *printer) ended(list []endInfo) {
	if len(list) == 0 {
		p.line("nothing runs")
	}
	for _, e := range list {
		switch {
		case !e.Terminated:
		case e.Instance && e.Enclaves > 0:
			p.line("terminated instance %s with %s", e.ID, count(e.Enclaves, "enclave"))
		case e.Instance:
			p.line("terminated instance %s", e.ID)
		default:
			p.line("terminated enclave %s", e.ID)
		}
	}
}

// count is a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
