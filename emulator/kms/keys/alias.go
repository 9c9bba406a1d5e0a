package keys

import (
	"slices"
	"strings"
)

// CreateAlias names a key. The name begins with alias/, not with alias/aws/, and has
// up to 256 letters, digits and /_-. Errors are [ErrInvalidAliasName],
// [ErrAlreadyExists], [ErrNotFound], [ErrInvalidState] for a key that is pending
// deletion, and [ErrLimit] over 50 aliases of one key.
func (r *Ring) CreateAlias(name, id string) error {
	if err := checkAlias(name); err != nil {
		return err
	}
	return r.rename(id, func(k *Key) (*Alias, error) {
		if r.aliasOf(name) != nil {
			return nil, fail(ErrAlreadyExists, "An alias with the name %s already exists", r.AliasARN(name))
		}
		now := r.now()
		return &Alias{Name: name, ARN: r.AliasARN(name), KeyID: k.ID, Created: now, Updated: now}, nil
	})
}

// UpdateAlias points an alias to another key, of the same kind and usage as the one
// it points to now. Errors are [ErrNotFound] for alias or key, [ErrInvalidState],
// [ErrLimit], and [ErrValidation] for a key of another kind or usage.
func (r *Ring) UpdateAlias(name, id string) error {
	if err := checkAlias(name); err != nil {
		return err
	}
	return r.rename(id, func(k *Key) (*Alias, error) {
		old := r.aliasOf(name)
		if old == nil {
			return nil, r.noAlias(name)
		}
		was, err := r.look(old.KeyID)
		if err != nil {
			return nil, err
		}
		if was.key.Usage != k.Usage || was.key.Spec.asymmetric() != k.Spec.asymmetric() {
			return nil, fail(ErrValidation, "%s has KeySpec %s and KeyUsage %s, %s has %s and %s; an alias stays with one kind of key and one usage",
				was.key.ARN, was.key.Spec, was.key.Usage, k.ARN, k.Spec, k.Usage)
		}
		a := *old
		a.KeyID, a.Updated = k.ID, r.now()
		return &a, nil
	})
}

// rename points the alias that f makes to the key.
func (r *Ring) rename(id string, f func(*Key) (*Alias, error)) error {
	r.write.Lock()
	defer r.write.Unlock()
	if err := r.settleLocked(); err != nil {
		return err
	}
	e, err := r.look(id)
	if err != nil {
		return err
	}
	if err := e.key.notPending(); err != nil {
		return err
	}
	a, err := f(e.key)
	if err != nil {
		return err
	}
	if has := r.Aliases(id); len(has) >= MaxAliases && !slices.Contains(has, a.Name) {
		return fail(ErrLimit, "%s has %d aliases; no more are allowed", e.key.ARN, len(has))
	}
	return r.commit(change{name: []*Alias{a}})
}

// DeleteAlias forgets an alias; the key stays as it is, in whatever state. The error
// is [ErrNotFound], or [ErrInvalidAliasName].
func (r *Ring) DeleteAlias(name string) error {
	if err := checkAlias(name); err != nil {
		return err
	}
	r.write.Lock()
	defer r.write.Unlock()
	if err := r.settleLocked(); err != nil {
		return err
	}
	if r.aliasOf(name) == nil {
		return r.noAlias(name)
	}
	return r.commit(change{unname: []string{name}})
}

// Alias finds an alias by its name; [ErrNotFound].
func (r *Ring) Alias(name string) (Alias, error) {
	if err := r.settle(); err != nil {
		return Alias{}, err
	}
	a := r.aliasOf(name)
	if a == nil {
		return Alias{}, r.noAlias(name)
	}
	return *a, nil
}

// Aliases are the names of a key's aliases, sorted; none if there is no such key.
func (r *Ring) Aliases(id string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.byKey[id])
}

func (r *Ring) aliasOf(name string) *Alias {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.alias[name]
}

func checkAlias(name string) error {
	switch {
	case len(name) > MaxAliasName:
		return fail(ErrInvalidAliasName, "AliasName has %d characters; allowed are up to %d", len(name), MaxAliasName)
	case !aliasPattern.MatchString(name):
		return fail(ErrInvalidAliasName, "AliasName is %q; allowed is alias/ and then letters, digits, /, _ and -", clip(name))
	case strings.HasPrefix(name, "alias/aws/"):
		return fail(ErrInvalidAliasName, "AliasName is %q; names that begin with alias/aws/ are reserved", clip(name))
	}
	return nil
}
