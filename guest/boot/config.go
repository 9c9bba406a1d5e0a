package boot

import (
	"fmt"
	"strings"
)

const (
	// maxConfig bounds /cmd and /env, in bytes. The kernel bounds what they can
	// become, arguments and environment of a program, at a quarter of the
	// stack: 2 MiB.
	maxConfig = 2 << 20

	defaultPath = "/sbin:/usr/sbin:/bin:/usr/bin"
)

// ParseCommand reads /cmd: one argument a line, the first is the program. An
// empty line is an empty argument; a line feed at the end of the file ends the
// last line and does not begin another.
func ParseCommand(raw []byte) ([]string, error) {
	command, err := parseLines(raw)
	if err != nil {
		return nil, fmt.Errorf("parse command: %w", err)
	}
	if len(command) == 0 || command[0] == "" {
		return nil, fmt.Errorf("parse command: it names no program")
	}
	return command, nil
}

// ParseEnv reads /env: one NAME=value a line. Lines without a name are dropped,
// since nothing can look them up. Without any variable the environment is the
// default search path, as with the stock init.
func ParseEnv(raw []byte) ([]string, error) {
	lines, err := parseLines(raw)
	if err != nil {
		return nil, fmt.Errorf("parse environment: %w", err)
	}
	var env []string
	for _, l := range lines {
		if strings.IndexByte(l, '=') > 0 {
			env = append(env, l)
		}
	}
	if len(env) == 0 {
		env = []string{"PATH=" + defaultPath}
	}
	return env, nil
}

func parseLines(raw []byte) ([]string, error) {
	if len(raw) > maxConfig {
		return nil, fmt.Errorf("%d bytes, at most %d are possible", len(raw), maxConfig)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	s := strings.TrimSuffix(string(raw), "\n")
	if strings.IndexByte(s, 0) >= 0 {
		return nil, fmt.Errorf("holds a zero byte")
	}
	return strings.Split(s, "\n"), nil
}
