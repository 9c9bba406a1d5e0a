// Command nitro-enclaves-allocator sets CPUs and memory of a parent instance
// aside for enclaves, as /etc/nitro_enclaves/allocator.yaml says; AWS's service
// of this name does the same with a shell script. The logic is
// guest/nitrocli/allocator.
//
// It takes no arguments. NITRO_CLI_INSTALL_DIR is put in front of the path of the
// configuration. Progress is on standard output, an error on standard error, and
// then the exit code is 1.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/nitrolab/nitrolab/guest/nitrocli/allocator"
)

func main() {
	if err := run(os.Args[1:], os.Getenv("NITRO_CLI_INSTALL_DIR"), allocator.Root("/"), os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "Error: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, installDir string, files allocator.Files, out io.Writer) error {
	if len(args) > 0 {
		return fmt.Errorf("argument is %q; nitro-enclaves-allocator takes none, and reads %s", args[0], allocator.ConfigPath)
	}
	path := installDir + allocator.ConfigPath
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, allocator.MaxConfig+1))
	if err != nil {
		return err
	}
	c, err := allocator.ParseConfig(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return allocator.Run(files, c, out)
}
