package qemu

import (
	"fmt"
	"io"
	"os"
)

// A logFile is a file that a guest can write to only so far. A nil *logFile
// takes everything and keeps nothing.
type logFile struct {
	f    *os.File
	left int64
	err  error // the first one; writing ends there
}

func createLog(path string, limit int64) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{f: f, left: limit}, nil
}

// write never fails: a full disk must not stop a guest.
func (l *logFile) write(p []byte) {
	if l == nil || l.err != nil {
		return
	}
	full := int64(len(p)) > l.left
	if full {
		p = p[:l.left]
	}
	l.left -= int64(len(p))
	if _, l.err = l.f.Write(p); l.err == nil && full {
		_, _ = fmt.Fprint(l.f, "\n[the log ends here: its size limit is reached]\n")
		l.err = io.ErrShortWrite
	}
}

func (l *logFile) close() {
	if l != nil {
		_ = l.f.Close()
	}
}
