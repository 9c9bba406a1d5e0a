package bundle

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// A ProgramError says why a program of the image could not run. The enclave
// would boot, fail to run it and reboot, with one line on a console that only a
// debug enclave shows.
type ProgramError struct {
	// Program is the path inside the image, as the command has it.
	Program string
	// Fault says what is wrong.
	Fault string
}

// Error names program and fault.
func (e *ProgramError) Error() string {
	return fmt.Sprintf("bundle: command %q cannot run: %s", e.Program, e.Fault)
}

// searchPath is where AWS's init looks for a program without a slash, whatever
// PATH the image sets (bootstrap init.c: DEFAULT_PATH_ENV, execvpe).
var searchPath = []string{"/sbin", "/usr/sbin", "/bin", "/usr/bin"}

const (
	// scriptHead is how much of a script the kernel reads for its first line
	// (BINPRM_BUF_SIZE).
	scriptHead = 256
	// maxScripts is how often an interpreter may be a script itself.
	maxScripts = 4
	// maxInterpreter bounds the name of an ELF interpreter (PATH_MAX).
	maxInterpreter = 4096
)

// checkCommand checks that the command's program is in the tree, is
// executable, is for the architecture, and that what it needs in turn to be
// started is there. It does not look for shared libraries.
func checkCommand(tree *rootfs.Tree, cmd []string, arch eif.Arch) error {
	if len(cmd) == 0 || cmd[0] == "" {
		return errors.New("bundle: the command is empty")
	}
	fault := func(format string, args ...any) error {
		return &ProgramError{Program: cmd[0], Fault: fmt.Sprintf(format, args...)}
	}
	at := cmd[0]
	if !strings.Contains(at, "/") {
		at = ""
		for _, dir := range searchPath {
			if e, err := tree.Lookup(path.Join(dir, cmd[0])); err == nil && isProgram(e) {
				at = path.Join(dir, cmd[0])
				break
			}
		}
		if at == "" {
			return fault("it is in none of %s", strings.Join(searchPath, ", "))
		}
	}
	for range maxScripts + 1 {
		next, err := checkFile(tree, at, arch)
		if err != nil {
			return fault("%v", err)
		}
		if next == "" {
			return nil
		}
		at = next
	}
	return fault("its interpreters are scripts, more than %d in a row", maxScripts)
}

// isProgram reports whether a file could be executed, as far as its mode says.
func isProgram(f cpio.Record) bool {
	return f.Mode&cpio.S_IFMT == cpio.S_IFREG && f.Mode&0o111 != 0
}

// checkFile checks one executable and returns the interpreter of a script.
func checkFile(tree *rootfs.Tree, at string, arch eif.Arch) (string, error) {
	e, err := tree.Lookup(at)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", at, errors.Unwrap(err))
	case e.Mode&cpio.S_IFMT != cpio.S_IFREG:
		return "", fmt.Errorf("%s is not a regular file", at)
	case e.Mode&0o111 == 0:
		return "", fmt.Errorf("%s is not executable (mode %#o)", at, e.Mode&0o7777)
	case e.FileSize == 0:
		return "", fmt.Errorf("%s is empty", at)
	}
	head := make([]byte, min(scriptHead, e.FileSize))
	if n, err := e.ReadAt(head, 0); n != len(head) {
		return "", fmt.Errorf("%s: %w", at, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		line, _, _ := bytes.Cut(head[2:], []byte("\n"))
		words := strings.Fields(string(line))
		if len(words) == 0 {
			return "", fmt.Errorf("%s is a script that names no interpreter", at)
		}
		return words[0], nil
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		interpreter, err := checkELF(e, arch)
		if err != nil {
			return "", fmt.Errorf("%s: %w", at, err)
		}
		if interpreter == "" {
			return "", nil
		}
		if _, err := tree.Lookup(interpreter); err != nil {
			return "", fmt.Errorf("%s is dynamically linked and the root filesystem has no %s", at, interpreter)
		}
		return "", nil
	}
	// Anything else execvpe gives to a shell.
	return "/bin/sh", nil
}

// checkStatic checks that r is a program that needs no other file.
func checkStatic(r io.ReaderAt, arch eif.Arch) error {
	magic := make([]byte, len(elf.ELFMAG))
	if n, _ := r.ReadAt(magic, 0); n != len(magic) || string(magic) != elf.ELFMAG {
		return errors.New("not an ELF program")
	}
	interpreter, err := checkELF(r, arch)
	if err != nil {
		return err
	}
	if interpreter != "" {
		return fmt.Errorf("dynamically linked: it needs the interpreter %s; link it statically (Go: CGO_ENABLED=0, C: -static), or bundle a directory or a container image that has the interpreter and the libraries", interpreter)
	}
	return nil
}

// checkELF checks that r is a program for the architecture and returns its
// interpreter, which a static program has not.
func checkELF(r io.ReaderAt, arch eif.Arch) (string, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return "", fmt.Errorf("damaged ELF file: %w", err)
	}
	want := elf.EM_X86_64
	if arch == eif.AArch64 {
		want = elf.EM_AARCH64
	}
	if f.Machine != want || f.Class != elf.ELFCLASS64 {
		return "", fmt.Errorf("built for %v (%v), the enclave is %v", f.Machine, f.Class, arch)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return "", fmt.Errorf("an ELF file of type %v, not a program", f.Type)
	}
	if f.Entry == 0 {
		return "", errors.New("an ELF file without an entry point, not a program")
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz == 0 || p.Filesz > maxInterpreter {
			return "", fmt.Errorf("name of the interpreter has %d bytes", p.Filesz)
		}
		b := make([]byte, p.Filesz)
		if n, err := p.ReadAt(b, 0); n != len(b) {
			return "", fmt.Errorf("damaged ELF file: %w", err)
		}
		name, _, _ := bytes.Cut(b, []byte{0})
		return string(name), nil
	}
	return "", nil
}
