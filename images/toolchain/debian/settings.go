package debian

import (
	"bufio"
	"bytes"
	"path/filepath"
	"strings"
)

// A setting is one value of apt's configuration (apt.conf(5)).
type setting struct{ key, value string }

// parseDump reads what "apt-config dump" prints: Key "value"; on each line.
// Values of several lines, which it prints as they are, are left out.
func parseDump(dump []byte) []setting {
	var out []setting
	lines := bufio.NewScanner(bytes.NewReader(dump))
	for lines.Scan() {
		key, rest, ok := strings.Cut(lines.Text(), ` "`)
		value, ended := strings.CutSuffix(rest, `";`)
		if ok && ended && isKey(key) {
			out = append(out, setting{key, value})
		}
	}
	return out
}

// isKey reports whether s is a key that can be written back as it is.
func isKey(s string) bool {
	for _, c := range []byte(s) {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && !strings.ContainsRune(":._-/+@", rune(c)) {
			return false
		}
	}
	return s != "" && !strings.Contains(s, "//")
}

// carried are the settings of the machine that also hold for a private run:
// how the network is reached, and whether dates can be trusted. Everything else
// is left behind, above all hooks, which apt runs after an update with the rights
// of the caller: images of Debian for containers have one that empties the
// machine's own cache.
//
// Dir::Etc::parts on the command line does not do that: apt has read its
// configuration by the time it looks at options. APT_CONFIG does.
var carried = []string{
	"acquire::http::", "acquire::https::", "acquire::ftp::", "acquire::socks::", "acquire::tor::",
	"acquire::forceipv4", "acquire::forceipv6", "acquire::retries", "acquire::queue-mode",
	"acquire::check-valid-until", "acquire::check-date", "acquire::max-validtime",
}

// carry picks the settings that hold for a private run too. Lists (keys that
// end in ::) and values that the file format cannot express are left out.
func carry(all []setting) []setting {
	var out []setting
	for _, s := range all {
		if s.value == "" || strings.HasSuffix(s.key, "::") || !expressible(s.value) {
			continue
		}
		key := strings.ToLower(s.key)
		for _, p := range carried {
			if key == p || strings.HasSuffix(p, "::") && strings.HasPrefix(key, p) {
				out = append(out, s)
				break
			}
		}
	}
	return out
}

// expressible reports whether s can stand in quotes in a configuration file,
// which knows no escapes.
func expressible(s string) bool { return !strings.ContainsAny(s, "\"\\\n\r\x00") }

// lookup gives the value of a key, empty if unset.
func lookup(all []setting, key string) string {
	for _, s := range all {
		if strings.EqualFold(s.key, key) {
			return s.value
		}
	}
	return ""
}

// lookupPath gives the path that a Dir:: key names. Like apt, it puts the value
// of each key above in front until the path is absolute.
func lookupPath(all []setting, key string) string {
	p := lookup(all, key)
	for !filepath.IsAbs(p) {
		up := strings.LastIndex(key, "::")
		if up < 0 {
			break
		}
		key = key[:up]
		p = filepath.Join(lookup(all, key), p)
	}
	if root := lookup(all, "RootDir"); root != "" {
		p = filepath.Join(root, p)
	}
	return p
}
