package policy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A policy with everything in it.
const full = `{
  "Version": "2012-10-17", "Id": "key-<1>",
  "Statement": [{
    "Sid": "Use & more", "Effect": "Allow",
    "Principal": {"AWS": ["111122223333", "arn:aws:iam::111122223333:role/team/app"], "Service": "ec2.amazonaws.com", "Federated": ["a", "b"]},
    "Action": ["kms:Decrypt", "kms:Generate*"], "Resource": "*",
    "Condition": {
      "StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": "ab", "kms:RecipientAttestation:PCR8": ["cd", "ef"]},
      "ForAnyValue:StringLikeIfExists": {"kms:EncryptionContextKeys": "x*"},
      "NumericLessThan": {"a:Number": [5, 6.50]}, "Bool": {"aws:SecureTransport": true}
    }}, {
    "Effect": "Deny", "NotPrincipal": "*", "NotAction": "kms:Describe*", "NotResource": ["arn:aws:kms:*", "arn:aws:s3:::${aws:username}"]
  }]
}`

func TestParse(t *testing.T) {
	condition := func(set Set, name string, ifExists bool, key string, values ...string) Condition {
		return Condition{Operator: Operator{set, name, ifExists}, Key: key, Values: values}
	}
	want := &Policy{Version: Version2012, ID: "key-<1>", Statements: []Statement{{
		Sid: "Use & more", Effect: Allow,
		Principal: &Principals{
			AWS:     []string{"111122223333", "arn:aws:iam::111122223333:role/team/app"},
			Service: []string{"ec2.amazonaws.com"}, Federated: []string{"a", "b"},
		},
		Action: []string{"kms:Decrypt", "kms:Generate*"}, Resource: []string{"*"},
		Conditions: []Condition{
			condition(Plain, "StringEqualsIgnoreCase", false, "kms:RecipientAttestation:PCR0", "ab"),
			condition(Plain, "StringEqualsIgnoreCase", false, "kms:RecipientAttestation:PCR8", "cd", "ef"),
			condition(ForAnyValue, "StringLike", true, "kms:EncryptionContextKeys", "x*"),
			condition(Plain, "NumericLessThan", false, "a:Number", "5", "6.50"),
			condition(Plain, "Bool", false, "aws:SecureTransport", "true"),
		},
	}, {
		Index: 1, Effect: Deny, NotPrincipal: &Principals{Any: true},
		NotAction: []string{"kms:Describe*"}, NotResource: []string{"arn:aws:kms:*", "arn:aws:s3:::${aws:username}"},
	}}}
	unexported := cmpopts.IgnoreUnexported(Statement{}, Condition{})
	got := mustParse(t, full)
	if diff := cmp.Diff(want, got, unexported); diff != "" {
		t.Fatalf("policy (-want +got):\n%s", diff)
	}
	text, err := got.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), `\u`) || !json.Valid(text) {
		t.Errorf("written as %s", text)
	}
	if diff := cmp.Diff(want, mustParse(t, string(text)), unexported); diff != "" {
		t.Errorf("written and read again (-want +got):\n%s", diff)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Errorf("json.Marshal: %v", err)
	}
}

// Forms that are one and the same.
func TestParseForms(t *testing.T) {
	want, err := mustParse(t, doc(allow(`,"Condition":{"Bool":{"a:Key":["true"]}}`))).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{"Statement":` + allow(`,"Condition":{"Bool":{"a:Key":true}}`) + `,"Version":"2012-10-17"}`,
		`{"Version":"2012-10-17","Statement":{"Condition":{"Bool":{"a:Key":"true"}},"Resource":["*"],"Action":["kms:Decrypt"],"Principal":"*","Effect":"Allow"}}`,
		" \n" + doc(allow(`,"\u0043ondition":{"Bool":{"a:Key":[true]}}`)) + "\t\n",
	} {
		got, err := mustParse(t, text).MarshalJSON()
		if diff := cmp.Diff(string(want), string(got)); diff != "" || err != nil {
			t.Errorf("%s (-want +got):\n%s%v", text, diff, err)
		}
	}
	if p := mustParse(t, `{"Statement":`+allow(`,"Condition":{}`)+`}`); p.Version != "" || p.Statements[0].Conditions != nil {
		t.Errorf("%+v", p)
	}
}

// Every refusal names the place, what stands there and what may.
func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	long := strings.Repeat("é", 200)
	tests := []struct {
		name, text string
		path, want string
	}{
		{"nothing", ``, "", "document has 0 bytes; allowed are 1 to 32768"},
		{"too long", doc(allow("")) + strings.Repeat(" ", MaxSize), "", "allowed are 1 to 32768"},
		{"no UTF-8", "{\"Id\":\"\xff\"}", "", "document is not UTF-8"},
		{"no JSON", `policy`, "", "document is not JSON: "},
		{"cut off", `{"Statement":[`, "", "document is not JSON: unexpected EOF"},
		{"cut off behind a name", `{"Statement"`, "", "document is not JSON: unexpected EOF"},
		{"cut off in a string", `{"Id":"x`, "", "document is not JSON: unexpected EOF"},
		{"comma too many", `{"Statement":[` + allow("") + `,]}`, "", "document is not JSON: "},
		{"comma too many in an object", `{"Id":"x",}`, "", "document is not JSON: "},
		{"comma missing", `{"Id":"x" "Version":"2012-10-17"}`, "", "document is not JSON: "},
		{"colon missing", `{"Id" "x"}`, "", "document is not JSON: "},
		{"wrong bracket", `{"Id":["x"}`, "", "document is not JSON: "},
		{"two documents", doc(allow("")) + `{}`, "", "there is more behind the JSON object"},
		{"bracket behind it", doc(allow("")) + `]`, "", "there is more behind the JSON object"},
		{"string", `"x"`, "", "value is a string; allowed is an object"},
		{"number", `1`, "", "value is a number or boolean; allowed is an object"},
		{"list", `[]`, "", "value is a list; allowed is an object"},
		{"null", `{"Id":null}`, "Id", "value is null"},
		{"deep", `{"Statement":` + deep + `}`, "Statement[0][0][0][0][0][0]", "nested too deep"},
		{"deep objects", strings.Repeat(`{"a":`, 2000) + `1` + strings.Repeat(`}`, 2000), "a.a.a.a.a.a.a", "nested too deep"},
		{"unknown member", `{"Statements":[]}`, "Statements", "unknown member; allowed are Version, Id, Statement"},
		{"wrong case", `{"version":"2012-10-17"}`, "version", "unknown member"},
		{"twice", `{"Version":"2012-10-17","Version":"2012-10-17"}`, "Version", "stands there twice"},
		{"twice by an escape", `{"Version":"2012-10-17","\u0056ersion":"2012-10-17"}`, "Version", "stands there twice"},
		{"version", `{"Version":"2012-10-18"}`, "Version", `value is "2012-10-18"; allowed are 2012-10-17 and 2008-10-17`},
		{"version number", `{"Version":2012}`, "Version", "value is a number or boolean; allowed is a string"},
		{"Id list", `{"Id":["x"]}`, "Id", "value is a list; allowed is a string"},
		{"no statement", `{}`, "Statement", "missing"},
		{"empty list of statements", `{"Statement":[]}`, "Statement", "list is empty"},
		{"statement string", `{"Statement":"x"}`, "Statement[0]", "value is a string; allowed is an object"},
		{"second statement", doc(allow("") + `,5`), "Statement[1]", "value is a number or boolean"},
		{"empty statement", doc(`{}`), "Statement[0]", "neither of Action and NotAction is there; one is needed"},
		{"unknown member of a statement", doc(allow(`,"Conditions":{}`)), "Statement[0].Conditions", "unknown member; allowed are Sid, Effect"},
		{"escape in a name", doc(allow(`,"\u001b[2J":1`)), `Statement[0]."\x1b[2J"`, "unknown member"},
		{"long name", doc(allow(`,"` + long + `":1`)), `Statement[0]."` + strings.Repeat("é", 60) + `…"`, "unknown member"},
		{"no effect", doc(`{"Action":"*","Resource":"*"}`), "Statement[0].Effect", "missing; allowed are Allow and Deny"},
		{"effect", doc(`{"Effect":"allow","Action":"*","Resource":"*"}`), "Statement[0].Effect", `value is "allow"; allowed are Allow and Deny`},
		{"Sid number", doc(`{"Sid":1}`), "Statement[0].Sid", "allowed is a string"},
		{"both actions", doc(allow(`,"NotAction":"*"`)), "Statement[0]", "both of Action and NotAction are there; allowed is one"},
		{"both resources", doc(allow(`,"NotResource":"*"`)), "Statement[0]", "both of Resource and NotResource are there"},
		{"no resource", doc(`{"Effect":"Allow","Action":"*"}`), "Statement[0]", "neither of Resource and NotResource is there"},
		{"both principals", doc(allow(`,"NotPrincipal":"*"`)), "Statement[0]", "both of Principal and NotPrincipal are there"},
		{"action", doc(`{"Action":"Decrypt"}`), "Statement[0].Action", `action 0 is "Decrypt"; allowed are such as "kms:Decrypt", "kms:*" and "*"`},
		{"second action", doc(`{"Action":["kms:*","kms:"]}`), "Statement[0].Action", `action 1 is "kms:"`},
		{"action with a space", doc(`{"NotAction":"kms:Decrypt "}`), "Statement[0].NotAction", `action 0 is "kms:Decrypt "`},
		{"action of any service", doc(`{"Action":"*:Decrypt"}`), "Statement[0].Action", `action 0 is "*:Decrypt"`},
		{"Kelvin sign in an action", doc(`{"Action":"` + "\u212A" + `ms:Decrypt"}`), "Statement[0].Action", "action 0 is "},
		{"no actions", doc(`{"Action":[]}`), "Statement[0].Action", "list is empty"},
		{"action object", doc(`{"Action":{}}`), "Statement[0].Action", "value is an object; allowed are a string and a list of strings"},
		{"list of lists", doc(`{"Action":["kms:*",["kms:*"]]}`), "Statement[0].Action", "value is a list; allowed are a string and a list of strings"},
		{"resource", doc(`{"Resource":"key/1"}`), "Statement[0].Resource", `resource 0 is "key/1"; allowed are "*" and ARNs`},
		{"resource variable", doc(`{"Resource":"arn:aws:kms:${x}"}`), "Statement[0].Resource", `value is "arn:aws:kms:${x}": variable ${x} is no condition key`},
		{"principal", doc(`{"Principal":"alice"}`), "Statement[0].Principal", `principal is "alice"; allowed are "*" and an object such as`},
		{"principal list", doc(`{"Principal":["*"]}`), "Statement[0].Principal", "value is a list; allowed is an object"},
		{"principal wildcard", doc(`{"Principal":{"AWS":"arn:aws:iam::111122223333:role/*"}}`), "Statement[0].Principal.AWS", `principal 0 is "arn:aws:iam::111122223333:role/*"; allowed are "*", account ids`},
		{"second principal", doc(`{"NotPrincipal":{"AWS":["*","bob"]}}`), "Statement[0].NotPrincipal.AWS", `principal 1 is "bob"`},
		{"account", doc(`{"Principal":{"AWS":"11112222333"}}`), "Statement[0].Principal.AWS", `principal 0 is "11112222333"`},
		{"group", doc(`{"Principal":{"AWS":"arn:aws:iam::111122223333:group/x"}}`), "Statement[0].Principal.AWS", "without wildcards"},
		{"kind of principal", doc(`{"Principal":{"aws":"*"}}`), "Statement[0].Principal.aws", "unknown kind of principal; allowed are AWS, Service, Federated"},
		{"nobody", doc(`{"Principal":{}}`), "Statement[0].Principal", "nobody is named"},
		{"condition list", doc(allow(`,"Condition":[]`)), "Statement[0].Condition", "value is a list; allowed is an object"},
		{"operator", doc(allow(`,"Condition":{"StringEqual":{"a:b":"c"}}`)), "Statement[0].Condition.StringEqual", "unknown operator; allowed are such as StringEquals"},
		{"operator twice", doc(allow(`,"Condition":{"Bool":{"a:b":"true"},"Bool":{"a:c":"true"}}`)), "Statement[0].Condition.Bool", "stands there twice"},
		{"Null with IfExists", doc(allow(`,"Condition":{"NullIfExists":{"a:b":"true"}}`)), "Statement[0].Condition.NullIfExists", "unknown operator"},
		{"no keys", doc(allow(`,"Condition":{"Bool":{}}`)), "Statement[0].Condition.Bool", "no key is there; it would always be true"},
		{"operator string", doc(allow(`,"Condition":{"Bool":"x"}`)), "Statement[0].Condition.Bool", "value is a string; allowed is an object"},
		{"key", doc(allow(`,"Condition":{"Bool":{"PCR0":"true"}}`)), "Statement[0].Condition.Bool.PCR0", "no condition key; allowed are such as kms:RecipientAttestation:PCR0"},
		{"key twice", doc(allow(`,"Condition":{"Bool":{"a:b":true,"a:b":true}}`)), "Statement[0].Condition.Bool.a:b", "stands there twice"},
		{"no values", doc(allow(`,"Condition":{"Bool":{"a:b":[]}}`)), "Statement[0].Condition.Bool.a:b", "list is empty"},
		{"null value", doc(allow(`,"Condition":{"Bool":{"a:b":["true",null]}}`)), "Statement[0].Condition.Bool.a:b[1]", "value is null"},
		{"bool", doc(allow(`,"Condition":{"Bool":{"a:b":["true","yes"]}}`)), "Statement[0].Condition.Bool.a:b[1]", `value is "yes"; allowed are true and false`},
		{"null operator", doc(allow(`,"Condition":{"Null":{"a:b":"maybe"}}`)), "Statement[0].Condition.Null.a:b[0]", `value is "maybe"; allowed are true and false`},
		{"number value", doc(allow(`,"Condition":{"NumericEquals":{"a:b":"1e9"}}`)), "Statement[0].Condition.NumericEquals.a:b[0]", `value is "1e9"; allowed are decimal numbers`},
		{"huge number", doc(allow(`,"Condition":{"NumericEquals":{"a:b":1e999999999}}`)), "Statement[0].Condition.NumericEquals.a:b[0]", "allowed are decimal numbers"},
		{"date", doc(allow(`,"Condition":{"DateLessThan":{"a:b":"25.11.2026"}}`)), "Statement[0].Condition.DateLessThan.a:b[0]", "allowed are dates such as"},
		{"late date", doc(allow(`,"Condition":{"DateLessThan":{"a:b":9999999999999}}`)), "Statement[0].Condition.DateLessThan.a:b[0]", "allowed are dates such as"},
		{"address", doc(allow(`,"Condition":{"IpAddress":{"a:b":"203.0.113.0/33"}}`)), "Statement[0].Condition.IpAddress.a:b[0]", "allowed are addresses and ranges"},
		{"address with a zone", doc(allow(`,"Condition":{"IpAddress":{"a:b":"fe80::1%eth0"}}`)), "Statement[0].Condition.IpAddress.a:b[0]", "allowed are addresses and ranges"},
		{"base64", doc(allow(`,"Condition":{"BinaryEquals":{"a:b":"!"}}`)), "Statement[0].Condition.BinaryEquals.a:b[0]", "allowed is base64"},
		{"open variable", doc(allow(`,"Condition":{"StringLike":{"a:b":"x${aws:y"}}`)), "Statement[0].Condition.StringLike.a:b[0]", `value is "x${aws:y": ${ has no }`},
		{"variable", doc(allow(`,"Condition":{"StringEquals":{"a:b":"${username}"}}`)), "Statement[0].Condition.StringEquals.a:b[0]", "variable ${username} is no condition key; allowed are such as ${aws:PrincipalAccount}"},
		{"default of a variable", doc(allow(`,"Condition":{"ArnLike":{"a:b":"${aws:x, y}"}}`)), "Statement[0].Condition.ArnLike.a:b[0]", "default of variable ${aws:x, y} is not in single quotes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("error is %v", err)
			}
			if syntax.Path != tt.path || !strings.Contains(syntax.Text, tt.want) {
				t.Errorf("at %q: %q; want at %q: %q", syntax.Path, syntax.Text, tt.path, tt.want)
			}
			if !strings.HasPrefix(err.Error(), "policy: ") || !strings.Contains(err.Error(), tt.path) || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 600 {
				t.Errorf("error %q is not for people", err)
			}
		})
	}
}

// The limit is that of the API, to the byte.
func TestParseLimit(t *testing.T) {
	text := doc(allow(""))
	text += strings.Repeat(" ", MaxSize-len(text))
	mustParse(t, text)
	if _, err := Parse([]byte(text + " ")); err == nil {
		t.Error("one byte more was taken")
	}
}

func TestValidPrincipal(t *testing.T) {
	for text, want := range map[string]bool{
		"*": true, "111122223333": true, "AROAQ3EGRIT3EXAMPLE12": true,
		"arn:aws:iam::111122223333:root": true, "arn:aws-cn:iam::111122223333:user/a": true, "arn:aws-us-gov:iam::111122223333:role/a/b": true,
		"arn:aws:sts::111122223333:assumed-role/a/b1": true, "arn:aws:sts::111122223333:federated-user/bob": true,
		"": false, "root": false, "arn:aws:iam::111122223333:root/": false, "arn:aws:iam::1111:root": false, "arn:aws:iam::111122223333:role/": false,
		"arn:aws:sts::111122223333:assumed-role/a": false, "arn:aws:iam:us-east-1:111122223333:root": false, "arn:aws:iam::111122223333:role/a b": false,
		"arn:aws:iam::111122223333:role/a?": false, "AROA": false, "arn:aws:iam::111122223333:role/a\n": false,
	} {
		if got := validPrincipal(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestChecks(t *testing.T) {
	with, without := allow(""), `{"Effect":"Allow","Action":"*","Resource":"*"}`
	for _, tt := range []struct {
		statements         string
		resource, identity string // where it is refused
	}{
		{with, "", "Statement[0]"},
		{without, "Statement[0]", ""},
		{with + "," + without, "Statement[1]", "Statement[0]"},
		{without + `,{"Effect":"Deny","NotPrincipal":"*","Action":"*","Resource":"*"}`, "Statement[0]", "Statement[1]"},
	} {
		p := mustParse(t, doc(tt.statements))
		for _, got := range []struct {
			err  error
			want string
		}{{p.CheckResource(), tt.resource}, {p.CheckIdentity(), tt.identity}} {
			var syntax *SyntaxError
			if errors.As(got.err, &syntax); (syntax == nil) != (got.want == "") || syntax != nil && syntax.Path != got.want {
				t.Errorf("%s: %v, want at %q", tt.statements, got.err, got.want)
			}
		}
	}
}

func TestEffectString(t *testing.T) {
	if got := []string{None.String(), Allow.String(), Deny.String()}; !cmp.Equal(got, []string{"None", "Allow", "Deny"}) {
		t.Errorf("%q", got)
	}
}
