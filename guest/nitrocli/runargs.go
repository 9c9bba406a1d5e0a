package nitrocli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nitrolab/nitrolab/guest/nitrocli/args"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

// parseRunArgs reads the options of run-enclave, or the file that --config
// names. Values are checked in nitro-cli's order (RunEnclavesArgs::new_with).
func (e *Env) parseRunArgs(v args.Values) (a wire.RunArgs, err error) {
	if path, ok := v.Get("config"); ok {
		if v.Has("attach-console") {
			fmt.Fprintln(e.Stderr, "warning: --attach-console has no effect beside --config; the file's `attach_console` has")
		}
		return readConfig(path)
	}
	if text, ok := v.Get("cpu-count"); ok {
		n, err := parseUint32("cpu-count", text)
		if err != nil {
			return a, failure.During("Parse CPU count", err)
		}
		a.CPUCount = &n
	}
	a.EIFPath, _ = v.Get("eif-path")
	if text, ok := v.Get("enclave-cid"); ok {
		cid, err := parseCID(text)
		if err != nil {
			return a, failure.During("Parse enclave CID", err)
		}
		if cid == 0 {
			fmt.Fprintln(e.Stderr, "The enclave CID will be auto-generated as the provided CID is 0")
		}
		a.EnclaveCID = &cid
	}
	text, _ := v.Get("memory")
	if a.MemoryMiB, err = parseMemory(text); err != nil {
		return a, failure.During("Parse memory", err)
	}
	for _, text := range v["cpu-ids"] {
		id, err := parseUint32("cpu-id", text)
		if err != nil {
			return a, failure.During("Parse CPU IDs", err)
		}
		a.CPUIDs = append(a.CPUIDs, id)
	}
	a.AttachConsole = v.Has("attach-console")
	a.DebugMode = v.Has("debug-mode") || a.AttachConsole
	if name, ok := v.Get("enclave-name"); ok {
		a.EnclaveName = &name
	}
	return a, nil
}

func invalid(name, value, format string, args ...any) error {
	return failure.New(failure.InvalidArgument, format, args...).With(name, value)
}

func parseUint32(name, text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, invalid(name, text, "`%s` is not a number of 32 bits", name)
	}
	return uint32(n), nil
}

// parseMemory reads MiB, or M, G or T behind a number.
func parseMemory(text string) (mib uint64, err error) {
	digits := strings.TrimRightFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, invalid("memory", text, "`memory` does not begin with a number")
	}
	unit := uint64(1)
	switch text[len(digits):] {
	case "", "M", "m":
	case "G", "g":
		unit = 1 << 10
	case "T", "t":
		unit = 1 << 20
	default:
		return 0, invalid("memory", text, "`memory` has a size indicator that is none of M, G and T")
	}
	if n > math.MaxUint64/unit {
		return 0, invalid("memory", text, "`memory` does not fit into 64 bits")
	}
	return n * unit, nil
}

// parseCID reads the CID for an enclave, 0 for a free one.
func parseCID(text string) (uint64, error) {
	cid, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err != nil:
		return 0, invalid("enclave-cid", text, "`enclave-cid` is not a number")
	case cid == 1, cid == 2, cid == math.MaxUint32:
		return 0, invalid("enclave-cid", text, "CID %d is a well-known CID, not to be used for enclaves", cid)
	case cid == 3:
		return 0, invalid("enclave-cid", text, "CID 3 is that of the parent VM, not to be used for enclaves")
	case cid > math.MaxUint32:
		return 0, invalid("enclave-cid", text, "CID %d is higher than vsock has, which is 32 bits", cid)
	}
	return cid, nil
}

// defaultName is the name of an enclave whose user gave none: that of the image
// file, without .eif.
func defaultName(eifPath string) string {
	name := eifPath[strings.LastIndexByte(eifPath, '/')+1:]
	for strings.HasSuffix(name, ".eif") {
		name = strings.TrimSuffix(name, ".eif")
	}
	return name
}

// freeName is name, or with the first _1, _2, ... that is not taken.
func freeName(name string, taken []string) string {
	is := make(map[string]bool, len(taken))
	for _, t := range taken {
		is[t] = true
	}
	free := name
	for i := 1; is[free]; i++ {
		free = name + "_" + strconv.Itoa(i)
	}
	return free
}
