package attestation

import (
	"time"
)

// maxAhead is how far a document's timestamp may lie after the time of
// verification. Clocks differ; a new leaf is refused after three seconds in any
// case, because its validity begins three seconds before its issue.
const maxAhead = time.Minute

// minTimestamp is 1973 in milliseconds, and the year 5138 in seconds.
const minTimestamp = 100_000_000_000

// validity checks every certificate, the root included, and lists every one
// that is not valid.
func (v *verification) validity() outcome {
	if v.path == nil {
		return skipped("not all certificates could be read")
	}
	var problems []error
	for i, cert := range v.path {
		if v.now.Before(cert.NotBefore) || v.now.After(cert.NotAfter) {
			problems = append(problems, &ValidityError{
				Certificate: describe(v.path, i),
				NotBefore:   cert.NotBefore,
				NotAfter:    cert.NotAfter,
				At:          v.now,
			})
		}
	}
	switch {
	case len(problems) == 1:
		return failed(problems[0])
	case len(problems) > 1:
		return failed(joined(problems))
	case v.AtDocumentTime:
		return passed("all were valid at %s, the time the document states; this says nothing about now", stamp(v.now))
	}
	return passed("all valid at %s, leaf for another %v", stamp(v.now), round(v.leaf.NotAfter.Sub(v.now)))
}

// joined is errors.Join on one line.
type joined []error

func (j joined) Unwrap() []error { return j }
func (j joined) Error() string {
	text := ""
	for i, err := range j {
		if i > 0 {
			text += "; "
		}
		text += err.Error()
	}
	return text
}

// timestamp refuses what no NSM can have written: it signs with a leaf that is
// valid at that very moment. Seconds instead of milliseconds end in 1970.
func (v *verification) timestamp() outcome {
	at := v.doc.Time()
	switch {
	case v.doc.Timestamp < minTimestamp:
		return failed(fail(ErrTimestamp, "%d is %s: seconds instead of milliseconds?", v.doc.Timestamp, stamp(at)))
	case v.leaf != nil && (at.Before(v.leaf.NotBefore) || at.After(v.leaf.NotAfter)):
		return failed(fail(ErrTimestamp, "%s is not within the leaf's validity, %s to %s",
			stamp(at), stamp(v.leaf.NotBefore), stamp(v.leaf.NotAfter)))
	case at.Sub(v.now) > maxAhead:
		return failed(fail(ErrTimestamp, "%s is %v after the time of verification", stamp(at), round(at.Sub(v.now))))
	}
	return passed("%s", at.Format("2006-01-02T15:04:05.000Z07:00"))
}

func (v *verification) freshness() outcome {
	age := v.now.Sub(v.doc.Time())
	switch {
	case v.MaxAge == 0:
		return skipped("no maximum age is given")
	case age > v.MaxAge:
		return failed(fail(ErrStale, "expected at most %v, found %v", v.MaxAge, round(age)))
	}
	return passed("%v old, at most %v", round(age), v.MaxAge)
}
