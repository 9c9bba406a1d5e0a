package policy

import "strings"

// An Operator compares the values that a request has for a key with the values
// of a [Condition]; IAM user guide, "IAM JSON policy elements: Condition
// operators".
//
// A comparison holds for a value of the request if one value of the condition is
// equal (like, less, …) to it; with a negated operator, if none is. Of several
// values in the request one must do with a plain operator, all with a negated
// one; ForAnyValue and ForAllValues say which instead.
//
// If the request does not have the key, a plain operator is false and a negated
// one true; ForAnyValue is false; ForAllValues and IfExists are true.
type Operator struct {
	Set      Set
	Name     string // such as "StringEquals", without the rest
	IfExists bool
}

// A Set says how many of the values of a request a condition is about.
type Set uint8

// The sets.
const (
	Plain        Set = iota
	ForAnyValue      // at least one
	ForAllValues     // every one, also if there is none
)

// String is the operator as a policy has it: "ForAnyValue:StringLikeIfExists".
func (o Operator) String() string {
	name := o.Name
	if o.IfExists {
		name += "IfExists"
	}
	switch o.Set {
	case ForAnyValue:
		return "ForAnyValue:" + name
	case ForAllValues:
		return "ForAllValues:" + name
	}
	return name
}

// Negated reports whether the operator holds where no value matches.
func (o Operator) Negated() bool { return operators[o.Name].negated }

// An operator is how a family of operators compares.
type operator struct {
	negated bool
	compile func(value string, variables bool) (test, error)
}

// A test compares one value of a request with one of a condition.
type test func(value string, r *Request) bool

// operators by name, with that spelling: AWS knows no other.
var operators = map[string]operator{
	"StringEquals":              {false, exact(func(a, b string) bool { return a == b })},
	"StringNotEquals":           {true, exact(func(a, b string) bool { return a == b })},
	"StringEqualsIgnoreCase":    {false, exact(strings.EqualFold)},
	"StringNotEqualsIgnoreCase": {true, exact(strings.EqualFold)},
	"StringLike":                {false, like},
	"StringNotLike":             {true, like},

	// The ARN operators are the same with and without Like.
	"ArnEquals":    {false, likeARN},
	"ArnLike":      {false, likeARN},
	"ArnNotEquals": {true, likeARN},
	"ArnNotLike":   {true, likeARN},

	"Bool":         {false, boolean},
	"BinaryEquals": {false, binary},
	nullOperator:   {false, boolean},

	"NumericEquals":            {false, number(func(c int) bool { return c == 0 })},
	"NumericNotEquals":         {true, number(func(c int) bool { return c == 0 })},
	"NumericLessThan":          {false, number(func(c int) bool { return c < 0 })},
	"NumericLessThanEquals":    {false, number(func(c int) bool { return c <= 0 })},
	"NumericGreaterThan":       {false, number(func(c int) bool { return c > 0 })},
	"NumericGreaterThanEquals": {false, number(func(c int) bool { return c >= 0 })},

	"DateEquals":            {false, date(func(c int) bool { return c == 0 })},
	"DateNotEquals":         {true, date(func(c int) bool { return c == 0 })},
	"DateLessThan":          {false, date(func(c int) bool { return c < 0 })},
	"DateLessThanEquals":    {false, date(func(c int) bool { return c <= 0 })},
	"DateGreaterThan":       {false, date(func(c int) bool { return c > 0 })},
	"DateGreaterThanEquals": {false, date(func(c int) bool { return c >= 0 })},

	"IpAddress":    {false, address},
	"NotIpAddress": {true, address},
}

// nullOperator asks whether a key is absent, and so follows none of the rules
// about absent keys.
const nullOperator = "Null"

// parseOperator reads the name of an operator as it stands in a policy.
func parseOperator(text string) (Operator, bool) {
	var o Operator
	name := text
	for prefix, set := range map[string]Set{"ForAnyValue:": ForAnyValue, "ForAllValues:": ForAllValues} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			o.Set, name = set, rest
		}
	}
	name, o.IfExists = strings.CutSuffix(name, "IfExists")
	o.Name = name
	_, known := operators[name]
	if name == nullOperator && (o.IfExists || o.Set != Plain) {
		return o, false
	}
	return o, known
}

// newCondition makes a condition that can be evaluated.
func newCondition(o Operator, key string, values []string, variables bool) (Condition, int, error) {
	c := Condition{Operator: o, Key: key, Values: values, tests: make([]test, len(values))}
	for i, v := range values {
		var err error
		if c.tests[i], err = operators[o.Name].compile(v, variables); err != nil {
			return Condition{}, i, err
		}
	}
	return c, 0, nil
}

// Holds reports whether the condition holds for a request. One that [Parse] has not
// made never does.
func (c *Condition) Holds(r *Request) bool {
	if len(c.tests) == 0 {
		return false
	}
	o, values := c.Operator, r.values(c.Key)
	if o.Name == nullOperator {
		absent := "false"
		if len(values) == 0 {
			absent = "true"
		}
		return c.matches(absent, r)
	}
	if len(values) == 0 {
		switch {
		case o.IfExists, o.Set == ForAllValues:
			return true
		case o.Set == ForAnyValue:
			return false
		}
		return o.Negated()
	}
	negated := o.Negated()
	all := o.Set == ForAllValues || o.Set == Plain && negated
	for _, v := range values {
		if good := c.matches(v, r) != negated; good != all {
			return good
		}
	}
	return all
}

// matches reports whether a value of the condition is equal (like, less, …) to
// value.
func (c *Condition) matches(value string, r *Request) bool {
	for _, t := range c.tests {
		if t(value, r) {
			return true
		}
	}
	return false
}

// NeedsKey reports whether the condition can hold only if the key is there.
func (c *Condition) NeedsKey() bool { return !c.Holds(&Request{}) }
