package keys

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// update changes the public part of a key. f gets a copy, which becomes the key if f
// returns nil.
func (r *Ring) update(id string, f func(*Key) error) (*Key, error) {
	r.write.Lock()
	defer r.write.Unlock()
	if err := r.settleLocked(); err != nil {
		return nil, err
	}
	e, err := r.look(id)
	if err != nil {
		return nil, err
	}
	k := e.key.clone()
	if err := f(k); err != nil {
		return nil, err
	}
	if err := r.commit(change{put: []*entry{{key: k, materials: e.materials}}}); err != nil {
		return nil, err
	}
	return k, nil
}

// SetPolicy replaces the key policy document, which is not looked into. It works in
// every state of the key. The error is [ErrLimit] over 32768 bytes.
func (r *Ring) SetPolicy(id, policy string) error {
	if err := checkPolicy(policy); err != nil {
		return err
	}
	_, err := r.update(id, func(k *Key) error {
		k.Policy = policy
		return nil
	})
	return err
}

// SetDescription replaces the description, up to 8192 characters.
func (r *Ring) SetDescription(id, description string) error {
	if err := checkDescription(description); err != nil {
		return err
	}
	_, err := r.update(id, func(k *Key) error {
		k.Description = description
		return k.notPending()
	})
	return err
}

// SetEnabled enables or disables a key. The error is [ErrInvalidState] for a key
// that is pending deletion.
func (r *Ring) SetEnabled(id string, enabled bool) error {
	_, err := r.update(id, func(k *Key) error {
		if err := k.notPending(); err != nil {
			return err
		}
		k.State = Disabled
		if enabled {
			k.State = Enabled
		}
		return nil
	})
	return err
}

// ScheduleDeletion puts a key into PendingDeletion for days, 7..30, or 30 if it is
// zero; when that time has passed by the ring's clock, the key, its material and its
// aliases are gone.
func (r *Ring) ScheduleDeletion(id string, days int) (*Key, error) {
	if days == 0 {
		days = DefaultWaitingDays
	}
	if days < MinWaitingDays || days > MaxWaitingDays {
		return nil, fail(ErrValidation, "PendingWindowInDays is %d; allowed are %d to %d", days, MinWaitingDays, MaxWaitingDays)
	}
	return r.update(id, func(k *Key) error {
		if err := k.notPending(); err != nil {
			return err
		}
		k.State = PendingDeletion
		// Days of 24 hours in UTC have no daylight saving time.
		k.DeletionDate = r.now().AddDate(0, 0, days)
		return nil
	})
}

// CancelDeletion takes a key out of PendingDeletion; it is Disabled then. The error
// is [ErrInvalidState] for a key that is not pending deletion.
func (r *Ring) CancelDeletion(id string) (*Key, error) {
	return r.update(id, func(k *Key) error {
		if k.State != PendingDeletion {
			return fail(ErrInvalidState, "%s is not pending deletion.", k.ARN)
		}
		k.State = Disabled
		k.DeletionDate = time.Time{}
		return nil
	})
}

// Tag adds tags to a key, or gives those it has new values. Errors are [ErrTag],
// [ErrLimit] over 50 tags, and [ErrInvalidState].
func (r *Ring) Tag(id string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	_, err := r.update(id, func(k *Key) error {
		if err := k.notPending(); err != nil {
			return err
		}
		if k.Tags == nil {
			k.Tags = make(map[string]string, len(tags))
		}
		for key, value := range tags {
			k.Tags[key] = value
		}
		return checkTags(k.Tags)
	})
	return err
}

// Untag takes tags from a key; that it does not have them is no error.
func (r *Ring) Untag(id string, tagKeys []string) error {
	_, err := r.update(id, func(k *Key) error {
		if err := k.notPending(); err != nil {
			return err
		}
		for _, key := range tagKeys {
			delete(k.Tags, key)
		}
		return nil
	})
	return err
}

// checkTags holds tags against the limits of TagResource.
func checkTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return fail(ErrLimit, "there are %d tags; a key has up to %d", len(tags), MaxTags)
	}
	for key, value := range tags {
		n, v := utf8.RuneCountInString(key), utf8.RuneCountInString(value)
		switch {
		case n == 0 || n > MaxTagKey:
			return fail(ErrTag, "TagKey has %d characters; allowed are 1 to %d", n, MaxTagKey)
		case v > MaxTagValue:
			return fail(ErrTag, "TagValue of %s has %d characters; allowed are up to %d", strconv.Quote(key), v, MaxTagValue)
		case !utf8.ValidString(key) || !utf8.ValidString(value):
			return fail(ErrTag, "TagKey is %s; it or its TagValue is not UTF-8", strconv.Quote(key))
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return fail(ErrTag, "TagKey is %s; names that begin with aws: are reserved", strconv.Quote(key))
		}
	}
	return nil
}
