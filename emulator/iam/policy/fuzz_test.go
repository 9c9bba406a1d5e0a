package policy

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Whatever the text: no panic, and either an error of the one type, or a policy
// that is the same when written and read again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		full, doc(allow("")), `{"Statement":` + allow(`,"Condition":{"Null":{"a:b":false}}`) + `}`,
		doc(allow(`,"Condition":{"StringLike":{"a:b":["${*}${aws:x,'*'}?","*"]}}`)),
		doc(allow(`,"Condition":{"IpAddress":{"a:b":"::ffff:1.2.3.4/120"},"DateEquals":{"a:b":2026},"NumericEquals":{"a:b":-0.0}}`)),
		`{"Statement":[[[[[[[`, `{"Version":"2012-10-17"`, "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Parse(text)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || p != nil {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		written, err := p.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if len(written) > MaxSize {
			return // an escape can be longer than what it stands for
		}
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("%v of %s", err, written)
		}
		if diff := cmp.Diff(p, again, cmpopts.IgnoreUnexported(Statement{}, Condition{})); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	})
}

// Whatever the request: no panic, and the laws of the language.
func FuzzEvaluate(f *testing.F) {
	f.Add([]byte(full), "kms:Decrypt", testKey, "aws:username", "alice", "x")
	f.Add([]byte(doc(allow(`,"Condition":{"StringNotLike":{"a:b":"*${a:c}*"}}`))), "kms:Decrypt", testKey, "a:b", "a*", "")
	f.Add([]byte(doc(allow(`,"Condition":{"ArnLike":{"a:b":"arn:*:${a:b}:*:*:*"}}`))), "*", "*", "A:B", "arn:::::", "\xff")
	f.Add([]byte(doc(allow(`,"Condition":{"DateLessThan":{"a:b":"2026"},"NumericLessThan":{"a:b":2},"IpAddress":{"a:b":"::/0"}}`))), "", "", "a:b", "1", "::1%x")
	f.Fuzz(func(t *testing.T, text []byte, action, resource, key, value, other string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		r := Request{Action: action, Resource: resource, Principal: alice, Context: map[string][]string{key: {value, other}, "a:b": {other}}}
		o := p.Evaluate(r)
		if (o.Effect == None) != (o.Statement == nil) || o.Statement != nil && o.Statement.Effect != o.Effect {
			t.Fatalf("%+v", o)
		}
		d := Authorize(p, []*Policy{p}, r)
		if d.Allowed != (d.Reason == "") || d.Allowed && o.Effect != Allow {
			t.Fatalf("%+v of %+v", d, o)
		}
		// What is denied to someone of whom nothing is known is denied to everybody.
		sure := p.Assuming(func(string) bool { return false }).Evaluate(r)
		if sure.Effect == Deny && o.Effect != Deny || sure.Effect == None && o.Effect == Allow {
			t.Fatalf("%v, assuming nothing %v", o.Effect, sure.Effect)
		}
	})
}
