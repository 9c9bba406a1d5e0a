package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrNotFound says that no running guest has the id or the name.
var ErrNotFound = errors.New("not found")

// A NotFoundError is why nothing was found.
type NotFoundError struct{ Text string }

func (e *NotFoundError) Error() string        { return e.Text }
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// Find returns the running enclave with this id or, if id is empty, this name. It
// knows nothing of instances and of the enclaves in them, as nitro-cli on the Host
// would.
func Find(ctx context.Context, base, id, name string) (Running, error) {
	list, listErr := List(ctx, base)
	if list == nil && listErr != nil {
		return Running{}, listErr
	}
	field, value := "id", id
	if id == "" {
		field, value = "name", name
	}
	var found []Running
	for _, r := range Enclaves(list) {
		if id != "" && r.ID() == id || id == "" && r.Name() == name {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Running{}, fmt.Errorf("enclave %s is %q, which %d running enclaves have; use --enclave-id", field, value, len(found))
	case listErr != nil:
		return Running{}, fmt.Errorf("enclave %s is %q; it may be one that does not answer: %w", field, value, listErr)
	}
	return Running{}, &NotFoundError{fmt.Sprintf("enclave %s is %q; no running enclave has it (nitrolab describe-enclaves lists them)", field, value)}
}

// An AmbiguousError is a word that fits more than one guest.
type AmbiguousError struct {
	Word string
	Fit  []string // sentences such as "instance i-0123456789abcdef0"
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%q is the beginning of %d ids: %s; give more of it", e.Word, len(e.Fit), strings.Join(e.Fit, ", "))
}

// An InsideError names an enclave that was started in an instance, which is where it
// is looked after.
type InsideError struct{ EnclaveID, InstanceID string }

func (e *InsideError) Error() string {
	return fmt.Sprintf("enclave %s is one of instance %s; nitro-cli looks after it there: nitrolab shell %[2]s", e.EnclaveID, e.InstanceID)
}

// Resolve returns the running guests that a person means by words: an id, a name, or
// the beginning of exactly one id, in this order. They come in the order of the words
// and none twice. If one word means nothing there is no answer; the error joins, for
// each of these, a [*NotFoundError], an [*AmbiguousError] or an [*InsideError].
func Resolve(ctx context.Context, base string, words ...string) ([]Running, error) {
	list, listErr := List(ctx, base)
	if list == nil && listErr != nil {
		return nil, listErr
	}
	var found []Running
	var errs []error
	seen := map[string]bool{}
	for _, w := range words {
		r, err := resolve(list, w)
		switch {
		case errors.Is(err, ErrNotFound) && listErr != nil:
			errs = append(errs, fmt.Errorf("%q may be one that does not answer: %w", w, listErr))
		case err != nil:
			errs = append(errs, err)
		case !seen[r.ID()]:
			seen[r.ID()] = true
			found = append(found, r)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

func resolve(list []Running, word string) (Running, error) {
	for _, r := range list {
		if r.ID() == word {
			return r, nil
		}
		if r.Instance == nil {
			continue
		}
		for _, e := range r.Instance.Enclaves {
			if e.EnclaveID == word {
				return Running{}, &InsideError{word, r.ID()}
			}
		}
	}
	for _, r := range list {
		if r.Name() == word {
			return r, nil
		}
	}
	var begins []Running
	for _, r := range list {
		if word != "" && strings.HasPrefix(r.ID(), word) {
			begins = append(begins, r)
		}
	}
	switch len(begins) {
	case 0:
		return Running{}, &NotFoundError{fmt.Sprintf("%q is no running instance or enclave (nitrolab ps lists them)", word)}
	case 1:
		return begins[0], nil
	}
	e := &AmbiguousError{Word: word}
	for _, r := range begins {
		e.Fit = append(e.Fit, r.String())
	}
	return Running{}, e
}
