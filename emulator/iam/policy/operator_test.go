package policy

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// a is a request in which a:Key has these values.
func a(values ...string) map[string][]string { return map[string][]string{"a:Key": values} }

// What each family of operators finds equal, like, less. Every row is also asked
// the other way round, of the negated operator.
func TestComparisons(t *testing.T) {
	tests := []struct {
		operator string
		values   string // of the policy
		value    string // of the request
		want     bool
	}{
		{"StringEquals", `"abc"`, "abc", true},
		{"StringEquals", `"abc"`, "ABC", false},
		{"StringEquals", `"a*"`, "abc", false},
		{"StringEquals", `"a*"`, "a*", true},
		{"StringEquals", `["x","abc"]`, "abc", true},
		{"StringEquals", `["x","y"]`, "abc", false},
		{"StringEquals", `""`, "", true},
		{"StringEquals", `5`, "5", true},
		{"StringEquals", `true`, "true", true},
		{"StringEquals", `"${*}"`, "*", true},
		{"StringEquals", `"a${$}{b}"`, "a${b}", true},
		{"StringEqualsIgnoreCase", `"aBc"`, "AbC", true},
		{"StringEqualsIgnoreCase", `"aBc"`, "AbD", false},
		{"StringEqualsIgnoreCase", `"a*"`, "abc", false},
		{"StringLike", `"abc"`, "abc", true},
		{"StringLike", `"abc"`, "Abc", false},
		{"StringLike", `"a*c"`, "abbc", true},
		{"StringLike", `"a*c"`, "ac", true},
		{"StringLike", `"a*c"`, "acb", false},
		{"StringLike", `"a?c"`, "abc", true},
		{"StringLike", `"a?c"`, "aéc", true},
		{"StringLike", `"a?c"`, "ac", false},
		{"StringLike", `"*"`, "", true},
		{"StringLike", `"?"`, "", false},
		{"StringLike", `"*b*b*"`, "abab", true},
		{"StringLike", `"*b*b*"`, "aba", false},
		{"StringLike", `"a${*}c"`, "abc", false},
		{"StringLike", `"a${*}c"`, "a*c", true},
		{"StringLike", `"a${?}c"`, "abc", false},
		{"StringLike", `"a.c"`, "abc", false},

		{"ArnEquals", `"arn:aws:iam::1:role/*"`, "arn:aws:iam::1:role/a/b", true},
		{"ArnLike", `"arn:aws:iam::1:role/a"`, "arn:aws:iam::1:role/a", true},
		{"ArnLike", `"arn:aws:iam::*:role/a"`, "arn:aws:iam::1:role/a", true},
		{"ArnLike", `"arn:aws:iam::?:role/a"`, "arn:aws:iam::12:role/a", false},
		{"ArnLike", `"arn:aws:*:role/a"`, "arn:aws:iam::1:role/a", false}, // no star across a colon
		{"ArnLike", `"arn:aws:sns:*:1:t:x"`, "arn:aws:sns:eu:1:t:x", true},
		{"ArnLike", `"arn:aws:sns:*:1:*"`, "arn:aws:sns:eu:1:t:x", true},
		{"ArnLike", `"arn:aws-cn:iam::1:role/a"`, "arn:aws:iam::1:role/a", false},
		{"ArnLike", `"*"`, "arn:aws:iam::1:role/a", false},
		{"ArnLike", `"arn:aws:iam::1:role/A"`, "arn:aws:iam::1:role/a", false},
		{"ArnLike", `"*:*:*:*:*:*"`, "role/a", false},

		{"Bool", `"true"`, "true", true},
		{"Bool", `true`, "true", true},
		{"Bool", `"False"`, "false", true},
		{"Bool", `"true"`, "false", false},
		{"Bool", `"true"`, "1", false},
		{"BinaryEquals", `"aGk="`, "aGk=", true},
		{"BinaryEquals", `"aGk="`, "aGo=", false},
		{"BinaryEquals", `"aGk="`, "!", false},

		{"NumericEquals", `5`, "5.0", true},
		{"NumericEquals", `"5"`, "6", false},
		{"NumericEquals", `0.1`, "0.10000000000000000000000000000000000001", false},
		{"NumericLessThan", `5`, "4.9", true},
		{"NumericLessThan", `5`, "5", false},
		{"NumericLessThanEquals", `5`, "5", true},
		{"NumericLessThanEquals", `5`, "5.1", false},
		{"NumericGreaterThan", `-5`, "-4", true},
		{"NumericGreaterThan", `5`, "5", false},
		{"NumericGreaterThanEquals", `5`, "5", true},
		{"NumericGreaterThanEquals", `5`, "4", false},
		{"NumericEquals", `5`, "five", false},
		{"NumericLessThan", `5`, "1e-1", false}, // exponents are no numbers here

		{"DateEquals", `"2026-11-25T09:00:00Z"`, "2026-11-25T10:00:00+01:00", true},
		{"DateEquals", `"2026-11-25"`, "2026-11-25T00:00:00Z", true},
		{"DateEquals", `"2026"`, "2026-01-01T00:00Z", true}, // a year, no second
		{"DateEquals", `1764061200`, "2025-11-25T09:00:00Z", true},
		{"DateEquals", `"2026-11-25"`, "2026-11-26", false},
		{"DateEquals", `"2026-11-25"`, "tomorrow", false},
		{"DateLessThan", `"2026-11-25"`, "2026-11-24T23:59:59.9Z", true},
		{"DateLessThan", `"2026-11-25"`, "2026-11-25", false},
		{"DateLessThanEquals", `"2026-11-25"`, "2026-11-25", true},
		{"DateLessThanEquals", `"2026-11-25"`, "2026-11-25T00:00:01Z", false},
		{"DateGreaterThan", `"2026-11-25"`, "2026-11-25T00:00:01Z", true},
		{"DateGreaterThan", `"2026-11-25"`, "2026-11-25", false},
		{"DateGreaterThanEquals", `"2026-11-25"`, "2026-11-25", true},
		{"DateGreaterThanEquals", `"2026-11-25"`, "2026-11", false},

		{"IpAddress", `"203.0.113.0/24"`, "203.0.113.9", true},
		{"IpAddress", `"203.0.113.7/24"`, "203.0.113.9", true}, // host bits do not count
		{"IpAddress", `"203.0.113.0/24"`, "203.0.114.9", false},
		{"IpAddress", `"203.0.113.9"`, "203.0.113.9", true},
		{"IpAddress", `"203.0.113.9"`, "::ffff:203.0.113.9", true},
		{"IpAddress", `"2001:db8::/32"`, "2001:db8::1", true},
		{"IpAddress", `"2001:db8::/32"`, "2001:db9::1", false},
		{"IpAddress", `"0.0.0.0/0"`, "::1", false},
		{"IpAddress", `"0.0.0.0/0"`, "here", false},
	}
	negated := map[string]string{
		"StringEquals": "StringNotEquals", "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase", "StringLike": "StringNotLike",
		"ArnEquals": "ArnNotEquals", "ArnLike": "ArnNotLike", "NumericEquals": "NumericNotEquals", "DateEquals": "DateNotEquals",
		"IpAddress": "NotIpAddress",
	}
	tried := map[string]bool{nullOperator: true} // has a test of its own
	for _, tt := range tests {
		names := map[string]bool{tt.operator: tt.want}
		if not, ok := negated[tt.operator]; ok {
			names[not] = !tt.want
		}
		for name, want := range names {
			tried[name] = true
			for _, form := range []string{name, name + "IfExists", "ForAnyValue:" + name, "ForAllValues:" + name, "ForAllValues:" + name + "IfExists"} {
				if got := holds(t, form, tt.values, a(tt.value)); got != want {
					t.Errorf("%s %s of %q is %v", form, tt.values, tt.value, got)
				}
			}
		}
	}
	for name := range operators {
		if !tried[name] {
			t.Errorf("%s has no row in the table of this test", name)
		}
	}
}

// What becomes of a key that is not there, or that has several values.
func TestSets(t *testing.T) {
	absent := map[string][]string{"a:Other": {"x"}}
	tests := []struct {
		operator string
		values   string
		context  map[string][]string
		want     bool
	}{
		{"StringEquals", `"x"`, absent, false},
		{"StringEquals", `"x"`, nil, false},
		{"StringEquals", `"x"`, a(), false},
		{"StringLike", `"*"`, absent, false},
		{"StringNotEquals", `"x"`, absent, true},
		{"StringNotLike", `"*"`, absent, true},
		{"StringEqualsIfExists", `"x"`, absent, true},
		{"StringNotEqualsIfExists", `"x"`, absent, true},
		{"NumericLessThanIfExists", `5`, absent, true},
		{"NumericLessThan", `5`, absent, false},
		{"DateLessThan", `"2026"`, absent, false},
		{"BoolIfExists", `"true"`, absent, true},
		{"Bool", `"false"`, absent, false},
		{"IpAddress", `"0.0.0.0/0"`, absent, false},
		{"NotIpAddress", `"0.0.0.0/0"`, absent, true},
		{"ArnLike", `"arn:*:*:*:*:*"`, absent, false},
		{"ArnNotLike", `"arn:*:*:*:*:*"`, absent, true},
		{"ForAnyValue:StringEquals", `"x"`, absent, false},
		{"ForAnyValue:StringNotEquals", `"x"`, absent, false},
		{"ForAnyValue:StringEqualsIfExists", `"x"`, absent, true},
		{"ForAllValues:StringEquals", `"x"`, absent, true},
		{"ForAllValues:StringNotEquals", `"x"`, absent, true},

		{"Null", `"true"`, absent, true},
		{"Null", `"false"`, absent, false},
		{"Null", `"true"`, a("x"), false},
		{"Null", `"false"`, a("x"), true},
		{"Null", `false`, a("x"), true},
		{"Null", `["true","false"]`, absent, true},
		{"Null", `"true"`, a(), true}, // no values are as no key

		{"StringEquals", `"x"`, a("x", "y"), true},
		{"StringEquals", `"x"`, a("y", "z"), false},
		{"StringNotEquals", `"x"`, a("x", "y"), false},
		{"StringNotEquals", `"x"`, a("y", "z"), true},
		{"ForAnyValue:StringEquals", `["x","w"]`, a("y", "w"), true},
		{"ForAnyValue:StringEquals", `["x","w"]`, a("y", "z"), false},
		{"ForAllValues:StringEquals", `["x","y"]`, a("y", "x"), true},
		{"ForAllValues:StringEquals", `["x","y"]`, a("y", "z"), false},
		{"ForAnyValue:StringNotEquals", `["x","y"]`, a("x", "z"), true},
		{"ForAnyValue:StringNotEquals", `["x","y"]`, a("x", "y"), false},
		{"ForAllValues:StringNotEquals", `["x","y"]`, a("z", "w"), true},
		{"ForAllValues:StringNotEquals", `["x","y"]`, a("z", "x"), false},
		{"StringNotEquals", `["x","y"]`, a("y"), false},
		{"StringNotEquals", `["x","y"]`, a("z"), true},

		// Names of keys have no case, and two spellings are one key.
		{"StringEquals", `"x"`, map[string][]string{"A:kEY": {"x"}}, true},
		{"StringEquals", `"y"`, map[string][]string{"A:KEY": {"x"}, "a:key": {"y"}, "b:c": {"z"}}, true},
		{"ForAllValues:StringEquals", `"y"`, map[string][]string{"A:KEY": {"x"}, "a:key": {"y"}, "a:kEy": {"y"}}, false},
		{"StringEquals", `"x"`, map[string][]string{"a:\u212Aey": {"x"}}, false}, // Kelvin sign
	}
	for _, tt := range tests {
		if got := holds(t, tt.operator, tt.values, tt.context); got != tt.want {
			t.Errorf("%s %s of %v is %v", tt.operator, tt.values, tt.context, got)
		}
	}
}

// All conditions of a statement hold, or it does not apply.
func TestConditionsAreAnd(t *testing.T) {
	p := mustParse(t, doc(allow(`,"Condition":{"StringEquals":{"a:Key":"x","b:Key":"y"},"Bool":{"c:Key":true}}`)))
	good := map[string][]string{"a:Key": {"x"}, "b:Key": {"y"}, "c:Key": {"true"}}
	if o := p.Evaluate(decrypt(alice, good)); o.Effect != Allow {
		t.Fatalf("all hold: %+v", o)
	}
	for key := range good {
		for _, values := range [][]string{nil, {"z"}} {
			bad := maps.Clone(good)
			bad[key] = values
			if o := p.Evaluate(decrypt(alice, bad)); o != (Outcome{}) {
				t.Errorf("%s is %v: %+v", key, values, o)
			}
		}
	}
}

// NeedsKey is what tells a condition on an attestation from one that only looks so.
func TestNeedsKey(t *testing.T) {
	for operator, want := range map[string]bool{
		"StringEquals": true, "StringLike": true, "StringEqualsIgnoreCase": true, "ForAnyValue:StringEquals": true,
		"ForAnyValue:StringNotEquals": true, "StringNotEquals": false, "StringNotLike": false, "StringEqualsIfExists": false,
		"ForAllValues:StringEquals": false, "ForAnyValue:StringEqualsIfExists": false,
	} {
		p := mustParse(t, doc(allow(`,"Condition":{"`+operator+`":{"a:Key":"x"}}`)))
		if got := p.Statements[0].Conditions[0].NeedsKey(); got != want {
			t.Errorf("%s: %v", operator, got)
		}
	}
	for value, want := range map[string]bool{"true": false, "false": true} {
		p := mustParse(t, doc(allow(`,"Condition":{"Null":{"a:Key":"`+value+`"}}`)))
		if got := p.Statements[0].Conditions[0].NeedsKey(); got != want {
			t.Errorf("Null %s: %v", value, got)
		}
	}
}

// A condition that was not parsed says nothing in anyone's favour.
func TestUnparsedMatchesNothing(t *testing.T) {
	p := mustParse(t, doc(allow("")))
	made := &Policy{Version: Version2012, Statements: []Statement{{Effect: Allow, Principal: &Principals{Any: true}, Action: []string{"*"}, Resource: []string{"*"}}}}
	if o := made.Evaluate(decrypt(alice, nil)); o != (Outcome{}) {
		t.Errorf("a made policy: %+v", o)
	}
	if s := (&Statement{Effect: Deny, NotAction: []string{"kms:Encrypt"}}); s.Covers("kms:Decrypt") {
		t.Error("a made statement covers an action")
	}
	p.Statements[0].Conditions = []Condition{{Operator: Operator{Name: "StringNotEquals"}, Key: "a:Key", Values: []string{"x"}}}
	if o := p.Evaluate(decrypt(alice, nil)); o != (Outcome{}) {
		t.Errorf("a made condition: %+v", o)
	}
	if o := (*Policy)(nil).Evaluate(decrypt(alice, nil)); o != (Outcome{}) {
		t.Errorf("no policy: %+v", o)
	}
}

func TestOperatorString(t *testing.T) {
	names := slices.Collect(maps.Keys(operators))
	for _, name := range names {
		for _, text := range []string{name, name + "IfExists", "ForAnyValue:" + name, "ForAllValues:" + name + "IfExists"} {
			o, ok := parseOperator(text)
			if want := name != nullOperator || text == name; ok != want {
				t.Errorf("%s is known: %v", text, ok)
			}
			if o.String() != text {
				t.Errorf("%s is printed as %s", text, o)
			}
			if ok && o.Negated() != strings.Contains(name, "Not") {
				t.Errorf("%s is negated: %v", text, o.Negated())
			}
		}
	}
	for _, text := range []string{"", "stringequals", "StringEqual", "IfExists", "StringEqualsIfExistsIfExists", "ForAnyValue:", "ForAnyValue:ForAllValues:StringEquals", "forAnyValue:StringEquals", "NumericLike"} {
		if o, ok := parseOperator(text); ok {
			t.Errorf("%q is known: %v", text, o)
		}
	}
}

// The time that a pattern takes does not explode with its stars.
func BenchmarkStringLike(b *testing.B) {
	p := mustParse(b, doc(allow(`,"Condition":{"StringLike":{"a:Key":"`+strings.Repeat("*a", 5000)+`b"}}`)))
	r := decrypt(alice, a(strings.Repeat("a", 6000)))
	b.ReportAllocs()
	for b.Loop() {
		if p.Evaluate(r).Effect != None {
			b.Fatal("matches")
		}
	}
}
