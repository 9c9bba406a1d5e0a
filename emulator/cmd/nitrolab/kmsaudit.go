package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/nitrolab/nitrolab/emulator/kms"
)

// auditFile is where --audit goes.
type auditFile struct {
	mu  sync.Mutex
	f   *os.File
	err error // the first
}

// openAudit opens the file, if one was asked for.
func openAudit(path string) (*auditFile, error) {
	if path == "" {
		return &auditFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--audit: %w", err)
	}
	return &auditFile{f: f}, nil
}

func (a *auditFile) write(e kms.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil || a.err != nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = a.f.Write(append(line, '\n'))
	}
	a.err = err
}

// close says what went wrong, however early.
func (a *auditFile) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == nil {
		return nil
	}
	if err := errors.Join(a.err, a.f.Close()); err != nil {
		return fmt.Errorf("--audit: %w", err)
	}
	return nil
}
