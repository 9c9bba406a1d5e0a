package kmsclient

import "strings"

// sameKey reports whether an answer with key ARN got can be about the key asked
// for. An alias says nothing about the id behind it, its ARN only in which region and
// account the key is; an answer to GenerateRandom names no key.
func sameKey(asked, got string) bool {
	switch {
	case asked == "", strings.HasPrefix(asked, "alias/"):
		return true
	case strings.HasPrefix(asked, "arn:"):
		owner, _, isAlias := strings.Cut(asked, ":alias/")
		return asked == got || isAlias && strings.HasPrefix(got, owner+":key/")
	}
	return strings.HasSuffix(got, ":key/"+asked)
}
