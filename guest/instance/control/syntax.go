package control

import "strings"

// Checks of single values. They are loops and not regular expressions because they
// are in the way of every warm start: code that runs for the first time after a
// restore is translated first under TCG, and package regexp has much of it.

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || c >= 'a' && c <= 'f' }
func isAlnum(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// isWord accepts names such as kernel releases, ids and drivers: nothing that a
// shell, a path or a terminal takes for more than text.
func isWord(s string) bool {
	if s == "" || len(s) > maxName || !isAlnum(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("._:+~-", s[i]) < 0 {
			return false
		}
	}
	return true
}

// isLabel accepts one label of a host name (RFC 1123 section 2.1).
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

// matches compares s with a pattern in which x is a digit of a hexadecimal number
// and other bytes are themselves.
func matches(s, pattern string) bool {
	if len(s) != len(pattern) {
		return false
	}
	for i := range len(s) {
		if pattern[i] == 'x' && !isHex(s[i]) || pattern[i] != 'x' && s[i] != pattern[i] {
			return false
		}
	}
	return true
}

func isPCIID(s string) bool { return matches(s, "xxxx:xxxx") }
func isUUID(s string) bool  { return matches(s, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") }

// isBDF accepts a PCI address. A domain has more than four digits where a
// hypervisor makes domains up.
func isBDF(s string) bool {
	domain, rest, ok := strings.Cut(s, ":")
	if !ok || len(domain) < 4 || len(domain) > 8 || !matches(domain, "xxxxxxxx"[:len(domain)]) {
		return false
	}
	return matches(rest, "xx:xx.x") && rest[len(rest)-1] <= '7'
}
