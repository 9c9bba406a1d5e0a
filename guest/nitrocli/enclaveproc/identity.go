package enclaveproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
)

const (
	// assetTagPath has the instance's ID (SMBIOS type 2, asset tag).
	assetTagPath = "/sys/devices/virtual/dmi/id/board_asset_tag"
	// noInstance is what nitro-cli takes without that file.
	noInstance = "i-0000000000000000"
)

// enclaveID is the enclave's ID: that of the instance, and the slot.
func (c *Config) enclaveID(slot uint64) (string, error) {
	instance := noInstance
	text, err := os.ReadFile(c.file(assetTagPath))
	switch {
	case err == nil:
		instance = strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return -1
			}
			return r
		}, string(text))
	case !errors.Is(err, fs.ErrNotExist):
		return "", failure.Wrap(failure.FileOperationFailure, err, assetTagPath, "Open")
	}
	return fmt.Sprintf("%s-enc%x", instance, slot), nil
}
