package policy

import "strings"

// A Request is what a policy is asked about.
type Request struct {
	Action    string // such as "kms:Decrypt"; case does not matter
	Resource  string // ARN, or "*" for an action on no resource
	Principal Principal

	// Context has the condition keys of the request. Case does not matter in
	// names; the values under two spellings of one name are taken together. A
	// key that is missing here, or has no value, is not there.
	Context map[string][]string
}

// A Principal is who makes a request.
type Principal struct {
	Account string // 12 digits
	ARN     string // of the user, the root user, or the session of a role
	Role    string // ARN of the role, "" for users and root
}

// IsRoot reports whether it is the root user of its account.
func (p Principal) IsRoot() bool {
	return p.Role == "" && p.Account != "" && isRootOf(p.ARN, p.Account)
}

// values are those of a condition key.
func (r *Request) values(key string) []string {
	if r == nil {
		return nil
	}
	if v, ok := r.Context[key]; ok && len(r.Context) == 1 {
		return v
	}
	var found []string
	shared := false
	for name, v := range r.Context {
		if !sameKey(name, key) || len(v) == 0 {
			continue
		}
		switch {
		case found == nil:
			found = v
		case !shared:
			found, shared = append(found[:len(found):len(found)], v...), true
		default:
			found = append(found, v...)
		}
	}
	return found
}

// sameKey compares names of condition keys. Only ASCII letters fold: with the
// Kelvin sign for a K a requester could put a second value under a key.
func sameKey(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// validKey accepts names of condition keys: a prefix, which is that of a service
// or "aws", and the rest.
func validKey(key string) bool {
	prefix, rest, ok := strings.Cut(key, ":")
	if !ok || prefix == "" || rest == "" {
		return false
	}
	for i := range len(prefix) {
		if c := lower(prefix[i]); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
