package emulator

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/qemu"
)

// An Artifact is what was kept of one enclave or instance.
type Artifact struct {
	ID          string
	From        string   // the guest's folder, which goes with the Host
	Dir         string   // the copy
	ConsoleTail []string // the last lines, printable
}

// Rebase makes a text for people, such as the report of an error, name the copy
// where it names the folder.
func (a Artifact) Rebase(text string) string { return movePath(text, a.From, a.Dir) }

// artifactLines is how much of a console an Artifact shows.
const artifactLines = 30

// A remains is a guest whose folder can be saved: an enclave or an instance, running
// or ended.
type remains struct {
	id, dir string
	machine *machine // nil if it did not come that far
}

func (e *Enclave) remains() remains  { return remains{e.ID(), e.dir, e.machine} }
func (i *Instance) remains() remains { return remains{i.ID(), i.dir, i.machine} }

// SaveArtifacts copies what helps to find a fault into a folder of dir for each
// guest of the Host, instances and enclaves: the console, QEMU's messages, the kernel
// and ramdisk of an enclave, and the command line to boot it again. Ended guests, and
// those whose QEMU did not start, are among them if the Host keeps their folders.
func (h *Host) SaveArtifacts(dir string) ([]Artifact, error) {
	h.mu.Lock()
	guests := slices.Clone(h.ended)
	h.mu.Unlock()
	enclaves := h.Enclaves()
	for _, i := range h.Instances() {
		guests = append(guests, i.remains())
		enclaves = append(enclaves, i.Enclaves()...)
	}
	for _, e := range enclaves {
		guests = append(guests, e.remains())
	}
	slices.SortFunc(guests, func(a, b remains) int { return strings.Compare(a.id, b.id) })
	var kept []Artifact
	var errs []error
	for _, g := range guests {
		a := Artifact{ID: g.id, From: g.dir, Dir: filepath.Join(dir, g.id)}
		if g.machine != nil && g.machine.process != nil {
			a.ConsoleTail = lastLines(g.machine.process.Console().Tail(consoleTail), artifactLines)
		}
		errs = append(errs, saveFolder(g.dir, a.Dir))
		kept = append(kept, a)
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

// saveFolder copies the folder of a guest to dir.
func saveFolder(from, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	// The command line names files in the folder that is about to go.
	script := filepath.Join(dir, "command.sh")
	text, err := os.ReadFile(script)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it did not come that far
	}
	if err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	text = []byte(movePath(string(text), from, dir))
	if err := os.WriteFile(script, text, 0o755); err != nil {
		return fmt.Errorf("save artifacts: %w", err)
	}
	return nil
}

// keepArtifacts copies an enclave that failed with err to where its user looks,
// and makes the error say so.
func (e *Enclave) keepArtifacts(err error) {
	dir := keepFolder(e.host.cfg.ArtifactsDir, e.info.EnclaveID, e.dir, e.log)
	e.mu.Lock()
	defer e.mu.Unlock()
	rebase(err, e.dir, dir)
}

// keepFolder copies the folder of a guest that failed to base, and returns the
// copy; empty if nothing is kept.
func keepFolder(base, id, from string, log *slog.Logger) string {
	if base == "" {
		return ""
	}
	dir := filepath.Join(base, id)
	if err := saveFolder(from, dir); err != nil {
		log.Error("keep artifacts", "err", err)
		return ""
	}
	return dir
}

// rebase makes an error name the copy of a guest's folder where it names the
// folder. Without a copy it names nothing that is kept.
func rebase(err error, from, dir string) {
	move := func(reproduce, kept *string) {
		*kept = dir
		if dir != "" {
			*reproduce = movePath(*reproduce, from, dir)
		}
	}
	var boot *qemu.BootError
	var infra *qemu.InfraError
	switch {
	case errors.As(err, &boot):
		move(&boot.Reproduce, &boot.Kept)
	case errors.As(err, &infra):
		move(&infra.Reproduce, &infra.Kept)
	}
}

// movePath replaces a folder in a line for the shell. People's folders have
// spaces in their names.
func movePath(line, from, to string) string {
	quoted := func(s string) bool { return qemu.ShellQuote(s) != s }
	if quoted(from) { // the words that hold it stand in single quotes
		inQuotes := func(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }
		return strings.ReplaceAll(line, inQuotes(from), inQuotes(to))
	}
	var b strings.Builder
	for _, r := range to {
		if quoted(string(r)) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return strings.ReplaceAll(line, from, b.String())
}
