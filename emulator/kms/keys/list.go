package keys

import (
	"encoding/base64"
	"slices"
)

// List gives keys in the order of their ids, at most limit (1..1000, or 100 if zero),
// beginning after marker, which is empty or the next of the page before; next is
// empty on the last page. Keys that come and go between two pages move no others.
func (r *Ring) List(limit int, marker string) (page []*Key, next string, err error) {
	if err := r.settle(); err != nil {
		return nil, "", err
	}
	if limit, err = checkLimit(limit, DefaultListKeys, MaxListKeys); err != nil {
		return nil, "", err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids, next, err := pageOf(r.ids, limit, marker)
	if err != nil {
		return nil, "", err
	}
	page = make([]*Key, len(ids))
	for i, id := range ids {
		page[i] = r.keys[id].key
	}
	return page, next, nil
}

// ListAliases gives aliases in the order of their names, of one key if id is not
// empty; see [Ring.List]. The limit is 1..100, or 50 if zero.
func (r *Ring) ListAliases(id string, limit int, marker string) (page []Alias, next string, err error) {
	if id != "" {
		if _, err := r.entry(id); err != nil {
			return nil, "", err
		}
	} else if err := r.settle(); err != nil {
		return nil, "", err
	}
	if limit, err = checkLimit(limit, DefaultListAliases, MaxListAliases); err != nil {
		return nil, "", err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := r.names
	if id != "" {
		all = r.byKey[id]
	}
	names, next, err := pageOf(all, limit, marker)
	if err != nil {
		return nil, "", err
	}
	page = make([]Alias, len(names))
	for i, name := range names {
		page[i] = *r.alias[name]
	}
	return page, next, nil
}

func checkLimit(limit, ifZero, most int) (int, error) {
	switch {
	case limit == 0:
		return ifZero, nil
	case limit < 0 || limit > most:
		return 0, fail(ErrValidation, "Limit is %d; allowed are 1 to %d", limit, most)
	}
	return limit, nil
}

// maxMarker is what a marker can become: an alias name of full length.
const maxMarker = (MaxAliasName + 2) / 3 * 4

// pageOf cuts a page out of a sorted list. A marker is the last name of the page
// before, in base64 so that nobody builds on it.
func pageOf(sorted []string, limit int, marker string) (page []string, next string, err error) {
	if marker != "" {
		if len(marker) > maxMarker {
			return nil, "", fail(ErrInvalidMarker, "Marker has %d characters; it is not one of this service", len(marker))
		}
		last, err := base64.RawURLEncoding.Strict().DecodeString(marker)
		if err != nil {
			return nil, "", fail(ErrInvalidMarker, "Marker is not one of this service")
		}
		i, found := slices.BinarySearch(sorted, string(last))
		if found {
			i++
		}
		sorted = sorted[i:]
	}
	if len(sorted) <= limit {
		return sorted, "", nil
	}
	page = sorted[:limit]
	return page, base64.RawURLEncoding.EncodeToString([]byte(page[limit-1])), nil
}
