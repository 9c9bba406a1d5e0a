package provision

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzReadRequest(f *testing.F) {
	var b bytes.Buffer
	if err := WriteRequest(&b, request()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-1])
	f.Add([]byte(part("null") + part("w")))
	f.Add([]byte(part(`{"credentials":{"access_key_id":"A","secret_access_key":"B"},"weaken":"x"}`) + part("w")))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ReadRequest(bytes.NewReader(in))
		if err != nil {
			if diff := cmp.Diff(Request{}, r); diff != "" {
				t.Errorf("with the error comes\n%s", diff)
			}
			return
		}
		var again bytes.Buffer
		if err := WriteRequest(&again, r); err != nil {
			return // escapes can make it longer than allowed
		}
		same, err := ReadRequest(&again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, same); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{`{"model":"answers"}`, `{"error":{"code":"denied","text":"no"}}`, `{"error":null}`, `{}`, `{"model":"\u001b"}`} {
		f.Add([]byte(part(s)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		model, err := ReadReply(bytes.NewReader(in))
		var refused *Error
		if err != nil && model != "" || errors.As(err, &refused) && bytes.ContainsAny([]byte(refused.Error()), "\n\x1b") ||
			bytes.ContainsAny([]byte(model), "\n\x1b") {
			t.Errorf("model %q, error %v", model, err)
		}
	})
}
