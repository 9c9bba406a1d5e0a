package nitrocli

import (
	"log/slog"
	"os"
	"path/filepath"
)

// logName is the log of all enclave processes, in the directory that
// [LogsPathVariable] names.
const logName = "nitro_enclaves.log"

// OpenLog opens the log for appending, and makes it if it is not there. Without
// a log there is no file, and what is logged goes nowhere: an enclave is worth
// more.
func (e *Env) OpenLog() (*slog.Logger, *os.File) {
	dir := e.env(LogsPathVariable, DefaultLogsPath)
	_ = os.Mkdir(dir, 0o775) // the open below has the last word
	f, err := os.OpenFile(filepath.Join(dir, logName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o664)
	if err != nil {
		return slog.New(slog.DiscardHandler), nil
	}
	return slog.New(slog.NewTextHandler(f, nil)).With("pid", os.Getpid()), f
}
