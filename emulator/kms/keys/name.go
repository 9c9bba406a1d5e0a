package keys

import (
	"regexp"
	"strings"
)

const (
	keyResource   = "key/"
	aliasResource = "alias/"
)

func (r *Ring) keyARN(id string) string { return r.prefix + keyResource + id }

// AliasARN is the ARN of the alias of that name, which begins with alias/, whether
// there is one or not.
func (r *Ring) AliasARN(name string) string { return r.prefix + name }

// KeyARN is the ARN of the key with that id, whether there is one or not.
func (r *Ring) KeyARN(id string) string { return r.keyARN(id) }

// aliasPattern is that of CreateAlias, AliasName.
var aliasPattern = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)

// Get finds a key by what the KeyId parameters of the KMS API take: key id, key ARN,
// alias name or alias ARN. The error is [ErrNotFound], or [ErrInvalidARN] for an ARN
// of something else.
func (r *Ring) Get(name string) (*Key, error) {
	if err := r.settle(); err != nil {
		return nil, err
	}
	if len(name) > MaxKeyID {
		return nil, fail(ErrValidation, "KeyId has %d characters; allowed are 1 to %d", len(name), MaxKeyID)
	}
	id, isAlias := name, strings.HasPrefix(name, aliasResource)
	if strings.HasPrefix(name, "arn:") {
		resource, here := strings.CutPrefix(name, r.prefix)
		if !here {
			return nil, r.foreign(name)
		}
		var isKey bool
		id, isKey = strings.CutPrefix(resource, keyResource)
		isAlias = strings.HasPrefix(resource, aliasResource)
		if !isKey && !isAlias {
			return nil, fail(ErrInvalidARN, "Invalid arn %s", clip(name))
		}
	}
	if isAlias {
		return r.getByAlias(id)
	}
	e, err := r.look(id)
	if err != nil {
		return nil, err
	}
	return e.key, nil
}

func (r *Ring) getByAlias(name string) (*Key, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a := r.alias[name]
	if a == nil {
		return nil, r.noAlias(name)
	}
	return r.keys[a.KeyID].key, nil // an alias never outlives its key
}

// foreign refuses an ARN of elsewhere: well-formed ones are of keys this ring does
// not have.
func (r *Ring) foreign(arn string) error {
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 || part[2] != "kms" || part[1] == "" || part[3] == "" ||
		!(strings.HasPrefix(part[5], keyResource) || strings.HasPrefix(part[5], aliasResource)) {
		return fail(ErrInvalidARN, "Invalid arn %s", clip(arn))
	}
	if part[3] != r.region {
		return fail(ErrNotFound, "Invalid arn %s", clip(part[3]))
	}
	return fail(ErrNotFound, "Key '%s' does not exist", clip(arn))
}

func (r *Ring) noKey(id string) error {
	if _, err := parseUUID(id); err != nil {
		return fail(ErrNotFound, "Invalid keyId '%s'", clip(id))
	}
	return fail(ErrNotFound, "Key '%s' does not exist", r.keyARN(id))
}

func (r *Ring) noAlias(name string) error {
	return fail(ErrNotFound, "Alias %s is not found.", r.AliasARN(clip(name)))
}
