package toolchain

import (
	"fmt"
	"os"
	"path/filepath"
)

// CacheDir is the folder of everything that nitrolab keeps between runs:
// NITROLAB_CACHE, else "nitrolab" in the user's cache folder. It is absolute and
// may not exist yet.
func CacheDir() (string, error) {
	dir := os.Getenv(EnvCache)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w; set %s", err, EnvCache)
		}
		dir = filepath.Join(base, "nitrolab")
	}
	return filepath.Abs(dir)
}
