package guard

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	removeTimeout = 5 * time.Second
	removeRetry   = 20 * time.Millisecond
)

// removePaths removes files and whole directories. It tries again for a while:
// another process that is being killed may still be writing there.
func removePaths(paths []string) {
	deadline := time.Now().Add(removeTimeout)
	for {
		left := false
		for _, p := range paths {
			left = os.RemoveAll(p) != nil || left
		}
		if !left || time.Now().After(deadline) {
			return
		}
		time.Sleep(removeRetry)
	}
}

// checkRemovable refuses paths that cannot be meant.
func checkRemovable(paths []string) error {
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			return fmt.Errorf("guard: Remove: %q is not an absolute path", p)
		}
		if clean := filepath.Clean(p); clean == filepath.Dir(clean) {
			return fmt.Errorf("guard: Remove: %q is the root directory", p)
		}
	}
	return nil
}
