package emulator

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// An Artifact is what was kept of one enclave.
type Artifact struct {
	ID          string
	Dir         string
	ConsoleTail []string // the last lines, printable
}

// artifactLines is how much of a console an Artifact shows.
const artifactLines = 30

// SaveArtifacts copies what helps to find a fault into a folder of dir for each
// enclave of the Host: the console, QEMU's messages, the kernel and ramdisk it
// booted, and the command line to do so again. Ended enclaves are among them if
// the Host keeps their folders.
func (h *Host) SaveArtifacts(dir string) ([]Artifact, error) {
	h.mu.Lock()
	enclaves := slices.Concat(slices.Collect(maps.Values(h.enclaves)), h.ended)
	h.mu.Unlock()
	slices.SortFunc(enclaves, func(a, b *Enclave) int { return strings.Compare(a.ID(), b.ID()) })
	var kept []Artifact
	var errs []error
	for _, e := range enclaves {
		if e.machine == nil {
			continue // it has not started
		}
		to := filepath.Join(dir, e.ID())
		errs = append(errs, e.saveArtifacts(to))
		kept = append(kept, Artifact{ID: e.ID(), Dir: to, ConsoleTail: lastLines(e.Console().Tail(consoleTail), artifactLines)})
	}
	return kept, errors.Join(errs...)
}

// lastLines are the last n lines of a console that are not blank.
func lastLines(console []byte, n int) []string {
	var lines []string
	for line := range strings.Lines(qemu.Printable(console)) {
		if line = strings.TrimRight(line, "\n\t "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-n):]
}

// saveArtifacts copies one enclave's folder to dir.
func (e *Enclave) saveArtifacts(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	if err := os.CopyFS(dir, os.DirFS(e.dir)); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	// The command line names files in the folder that is about to go.
	script := filepath.Join(dir, "command.sh")
	text, err := os.ReadFile(script)
	if err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	text = []byte(strings.ReplaceAll(string(text), e.dir, dir))
	if err := os.WriteFile(script, text, 0o755); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	return nil
}

// keepArtifacts copies an enclave that failed to where its user looks, and makes
// the error say so.
func (e *Enclave) keepArtifacts() {
	dir := ""
	if base := e.host.cfg.ArtifactsDir; base != "" {
		dir = filepath.Join(base, e.info.EnclaveID)
		if err := e.saveArtifacts(dir); err != nil {
			e.log.Error("keep artifacts", "err", err)
			dir = ""
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	move := func(reproduce, kept *string) {
		*kept = dir
		if dir != "" {
			*reproduce = strings.ReplaceAll(*reproduce, e.dir, dir)
		}
	}
	var boot *qemu.BootError
	var infra *qemu.InfraError
	switch {
	case errors.As(e.err, &boot):
		move(&boot.Reproduce, &boot.Kept)
	case errors.As(e.err, &infra):
		move(&infra.Reproduce, &infra.Kept)
	}
}
