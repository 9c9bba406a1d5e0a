package policy

import "testing"

// What a statement is about.
func TestCovers(t *testing.T) {
	tests := []struct {
		members  string
		action   string
		resource string
		want     bool
	}{
		{`"Action":"kms:Decrypt","Resource":"*"`, "kms:Decrypt", testKey, true},
		{`"Action":"KMS:decrypt","Resource":"*"`, "kms:Decrypt", testKey, true},
		{`"Action":"kms:Decrypt","Resource":"*"`, "KMS:DECRYPT", testKey, true},
		{`"Action":"kms:Decrypt","Resource":"*"`, "kms:DecryptX", testKey, false},
		{`"Action":"kms:Decrypt","Resource":"*"`, "s3:Decrypt", testKey, false},
		{`"Action":"kms:*","Resource":"*"`, "kms:GenerateDataKey", testKey, true},
		{`"Action":"kms:GenerateDataKey*","Resource":"*"`, "kms:GenerateDataKeyPair", testKey, true},
		{`"Action":"kms:GenerateDataKe?","Resource":"*"`, "kms:GenerateDataKey", testKey, true},
		{`"Action":"kms:GenerateDataKey*","Resource":"*"`, "kms:GenerateRandom", testKey, false},
		{`"Action":"*","Resource":"*"`, "kms:Decrypt", testKey, true},
		{`"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"`, "kms:Decrypt", testKey, true},
		{`"NotAction":"kms:Decrypt","Resource":"*"`, "kms:Decrypt", testKey, false},
		{`"NotAction":"kms:Decrypt","Resource":"*"`, "kms:Encrypt", testKey, true},
		{`"NotAction":["kms:De*","kms:E*"],"Resource":"*"`, "kms:Encrypt", testKey, false},
		{`"NotAction":"*","Resource":"*"`, "kms:Encrypt", testKey, false},

		{`"Action":"*","Resource":"` + testKey + `"`, "kms:Decrypt", testKey, true},
		{`"Action":"*","Resource":"` + testKey + `x"`, "kms:Decrypt", testKey, false},
		{`"Action":"*","Resource":"arn:aws:kms:*:111122223333:key/*"`, "kms:Decrypt", testKey, true},
		{`"Action":"*","Resource":"arn:aws:kms:*"`, "kms:Decrypt", testKey, true},
		{`"Action":"*","Resource":"ARN:aws:kms:*"`, "", "", false}, // refused
		{`"Action":"*","Resource":["arn:aws:s3:::b","arn:*:kms:*"]`, "kms:Decrypt", testKey, true},
		{`"Action":"*","NotResource":"` + testKey + `"`, "kms:Decrypt", testKey, false},
		{`"Action":"*","NotResource":"arn:aws:s3:::*"`, "kms:Decrypt", testKey, true},
		{`"Action":"*","NotResource":"*"`, "kms:Decrypt", testKey, false},
		{`"Action":"*","Resource":"arn:aws:kms:us-east-1:${aws:PrincipalAccount}:key/*"`, "kms:Decrypt", testKey, true},
		{`"Action":"*","Resource":"arn:aws:kms:us-east-1:${aws:Absent}:key/*"`, "kms:Decrypt", testKey, false},
		{`"Action":"*","Resource":"arn:aws:kms:us-east-1:${aws:Absent,'111122223333'}:key/*"`, "kms:Decrypt", testKey, true},
		{`"Action":"*","Resource":"arn:aws:kms:us-east-1:${a:Star}:key/*"`, "kms:Decrypt", testKey, false}, // a star in a value is a star
	}
	for _, tt := range tests {
		p, err := Parse([]byte(doc(`{"Effect":"Allow","Principal":"*",` + tt.members + `}`)))
		if tt.action == "" {
			if err == nil {
				t.Errorf("%s was not refused", tt.members)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", tt.members, err)
		}
		r := Request{Action: tt.action, Resource: tt.resource, Principal: alice, Context: map[string][]string{
			"aws:PrincipalAccount": {testAccount}, "a:Star": {"*"},
		}}
		if got := p.Evaluate(r).Effect == Allow; got != tt.want {
			t.Errorf("%s covers %s on %s: %v", tt.members, tt.action, tt.resource, got)
		}
	}
}

func TestStatementCovers(t *testing.T) {
	s := mustParse(t, doc(`{"Effect":"Deny","NotPrincipal":"*","NotAction":"kms:Encrypt","NotResource":"*"}`)).Statements[0]
	if !s.Covers("KMS:Decrypt") || s.Covers("kms:encrypt") {
		t.Error("Covers is not about actions alone")
	}
}

// Variables, in the places that take them and in the version that has them.
func TestVariables(t *testing.T) {
	context := map[string][]string{"aws:username": {"alice"}, "a:Glob": {"a*"}, "a:Many": {"alice", "y"}, "a:Key": {"alice"}}
	tests := []struct {
		operator, value string
		want            bool
	}{
		{"StringEquals", "${aws:username}", true},
		{"StringEquals", "${AWS:UserName}", true},
		{"StringEquals", "${aws:username}x", false},
		{"StringEquals", "${aws:absent}", false},
		{"StringNotEquals", "${aws:absent}", true},
		{"StringEquals", "${aws:absent, 'alice'}", true},
		{"StringEquals", "${aws:username, 'bob'}", true},
		{"StringEquals", "${a:Many}", false}, // two values are none
		{"StringEqualsIgnoreCase", "${aws:username}", true},
		{"StringLike", "${a:Glob}", false},
		{"StringLike", "a*${aws:absent,'ce'}", true},
		{"StringLike", "${aws:username}*", true},
		{"StringNotLike", "${a:Glob}", true},
	}
	for _, tt := range tests {
		if got := holds(t, tt.operator, `"`+tt.value+`"`, context); got != tt.want {
			t.Errorf("%s %s is %v", tt.operator, tt.value, got)
		}
	}
	for _, version := range []string{`"Version":"2008-10-17",`, ``} {
		p := mustParse(t, `{`+version+`"Statement":`+allow(`,"Condition":{"StringEquals":{"a:Key":"${aws:username}"}}`)+`}`)
		if p.Evaluate(decrypt(alice, context)).Effect == Allow {
			t.Errorf("%s has variables", version)
		}
		if p.Evaluate(decrypt(alice, a("${aws:username}"))).Effect != Allow {
			t.Errorf("%s does not take ${ as text", version)
		}
	}
}

func TestDecidingStatement(t *testing.T) {
	const account = `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}`
	const deny = `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"Bool":{"a:Key":true}}}`
	p := mustParse(t, doc(account+`,`+account+`,`+allow("")+`,`+allow("")+`,`+deny))
	check := func(what string, o Outcome, effect Effect, index int, delegated bool) {
		t.Helper()
		if o.Effect != effect || o.Statement != &p.Statements[index] || o.Delegated != delegated {
			t.Errorf("%s: %+v", what, o)
		}
	}
	check("direct before delegated", p.Evaluate(decrypt(alice, nil)), Allow, 2, false)
	check("deny before all", p.Evaluate(decrypt(alice, a("true"))), Deny, 4, false)
	r := decrypt(alice, nil)
	r.Action = "kms:Encrypt"
	check("delegated", p.Evaluate(r), Allow, 0, true)
	if o := p.EvaluateIdentity(decrypt(alice, nil)); o != (Outcome{}) {
		t.Errorf("statements with principals in an identity policy: %+v", o)
	}
	p = mustParse(t, doc(`{"Effect":"Allow","Action":"kms:*","Resource":"*"},{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*","Condition":{"Bool":{"a:Key":true}}}`))
	check("identity", p.EvaluateIdentity(decrypt(alice, nil)), Allow, 0, false)
	check("identity deny", p.EvaluateIdentity(decrypt(alice, a("true"))), Deny, 1, false)
	if o := p.Evaluate(decrypt(alice, nil)); o != (Outcome{}) {
		t.Errorf("statements without principals in a resource policy: %+v", o)
	}
}

// The decision of a key service. Each row that is allowed has one beside it that
// is not.
func TestAuthorize(t *testing.T) {
	const (
		byResource   = "because no resource-based policy allows the kms:Decrypt action"
		byIdentity   = "because no identity-based policy allows the kms:Decrypt action"
		denyResource = "with an explicit deny in a resource-based policy"
		denyIdentity = "with an explicit deny in an identity-based policy"
	)
	key := func(principal string) string {
		return doc(`{"Effect":"Allow","Principal":` + principal + `,"Action":"kms:*","Resource":"*"}`)
	}
	own := func(effect, action string) string {
		return doc(`{"Effect":"` + effect + `","Action":"` + action + `","Resource":"*"}`)
	}
	const accountA, accountB = `{"AWS":"111122223333"}`, `{"AWS":"arn:aws:iam::444455556666:root"}`
	tests := []struct {
		name     string
		key      string
		identity []string
		who      Principal
		want     string // reason; "" is allowed
	}{
		{"key policy names the user", key(`{"AWS":"arn:aws:iam::111122223333:user/alice"}`), nil, alice, ""},
		{"it names another", key(`{"AWS":"arn:aws:iam::111122223333:user/bob"}`), nil, alice, byResource},
		{"an identity policy alone", key(`{"AWS":"arn:aws:iam::111122223333:user/bob"}`), []string{own("Allow", "kms:*")}, alice, byResource},
		{"delegated, and allowed", key(accountA), []string{own("Allow", "kms:Decrypt")}, alice, ""},
		{"delegated, and not allowed", key(accountA), []string{own("Allow", "kms:Encrypt")}, alice, byIdentity},
		{"delegated, no policies", key(accountA), nil, app, byIdentity},
		{"delegated, second policy allows", key(accountA), []string{own("Allow", "kms:Encrypt"), own("Allow", "kms:*")}, app, ""},
		{"root user", key(accountA), nil, root, ""},
		{"root user of another account", key(accountA), nil, landlord, byResource},
		{"everybody, same account", key(`"*"`), nil, alice, ""},
		{"everybody, another account", key(`"*"`), nil, stranger, byIdentity},
		{"everybody, another account that allows", key(`"*"`), []string{own("Allow", "kms:Decrypt")}, stranger, ""},
		{"user of another account", key(`{"AWS":"arn:aws:iam::444455556666:user/eve"}`), nil, stranger, byIdentity},
		{"another account, delegated and allowed", key(accountB), []string{own("Allow", "*")}, stranger, ""},
		{"another account's root user", key(accountB), nil, landlord, ""},
		{"another account not named", key(accountA), []string{own("Allow", "*")}, stranger, byResource},
		{"identity denies", key(`"*"`), []string{own("Allow", "*"), own("Deny", "kms:Decrypt")}, alice, denyIdentity},
		{"identity denies another action", key(`"*"`), []string{own("Deny", "kms:Encrypt")}, alice, ""},
		{"key policy denies", doc(allow("") + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`), []string{own("Allow", "*")}, alice, denyResource},
		{"key policy denies root", doc(allow("") + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`), nil, root, denyResource},
		{"both deny", doc(allow("") + `,{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`), []string{own("Deny", "*")}, alice, denyResource},
		{"no key, allowed", "", []string{own("Allow", "kms:Decrypt")}, alice, ""},
		{"no key, not allowed", "", nil, alice, byIdentity},
		{"no key, denied", "", []string{own("Allow", "*"), own("Deny", "*")}, alice, denyIdentity},
		{"no key, root user", "", nil, root, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var key *Policy
			r := decrypt(tt.who, nil)
			if tt.key != "" {
				key = mustParse(t, tt.key)
			} else {
				r.Resource = "*"
			}
			var identity []*Policy
			for _, text := range tt.identity {
				identity = append(identity, mustParse(t, text))
			}
			d := Authorize(key, identity, r)
			if d.Reason != tt.want || d.Allowed != (tt.want == "") {
				t.Errorf("%+v, want %q", d, tt.want)
			}
			if d.Allowed && (d.Statement == nil) != (key == nil) {
				t.Errorf("deciding statement %v", d.Statement)
			}
			if d.Allowed && d.Statement == nil && d.Identity == nil && !tt.who.IsRoot() {
				t.Error("nobody decided")
			}
		})
	}
}

// Assuming fears the worst: what its result denies is denied whatever else is true.
func TestAssuming(t *testing.T) {
	only := func(names ...string) func(string) bool {
		return func(key string) bool {
			for _, n := range names {
				if sameKey(n, key) {
					return true
				}
			}
			return false
		}
	}
	statement := func(effect, more string) string {
		return `{"Effect":"` + effect + `","Principal":"*","Action":"*"` + more + `}`
	}
	const anywhere = `,"Resource":"*"`
	tests := []struct {
		name, text string
		want       Effect
	}{
		{"known and true", statement("Allow", anywhere+`,"Condition":{"StringEquals":{"a:Key":"x"}}`), Allow},
		{"known and false", statement("Allow", anywhere+`,"Condition":{"StringEquals":{"a:Key":"y"}}`), None},
		{"unknown", statement("Allow", anywhere+`,"Condition":{"StringEquals":{"b:Key":"y"}}`), Allow},
		{"one of each", statement("Allow", anywhere+`,"Condition":{"StringEquals":{"b:Key":"y","a:Key":"y"}}`), None},
		{"unknown variable", statement("Allow", anywhere+`,"Condition":{"StringEquals":{"a:Key":"${b:Key}"}}`), Allow},
		{"known variable", statement("Allow", anywhere+`,"Condition":{"StringEquals":{"a:Key":"${a:Key}y"}}`), None},
		{"unknown resource", statement("Allow", `,"Resource":"arn:aws:kms:${b:Key}:*"`), Allow},
		{"unknown not-resource", statement("Allow", `,"NotResource":"arn:aws:kms:${b:Key,'us-east-1'}:*"`), Allow},
		{"another resource", statement("Allow", `,"Resource":"arn:aws:s3:*"`), None},
		{"sure denial", statement("Allow", anywhere) + `,` + statement("Deny", anywhere+`,"Condition":{"StringEquals":{"a:Key":"x"}}`), Deny},
		{"unsure denial", statement("Allow", anywhere) + `,` + statement("Deny", anywhere+`,"Condition":{"StringEquals":{"b:Key":"x"}}`), Allow},
		{"unsure resource of a denial", statement("Allow", anywhere) + `,` + statement("Deny", `,"Resource":"arn:aws:kms:${b:Key}:*"`), Allow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParse(t, doc(tt.text))
			before := len(p.Statements[0].Conditions)
			sure := p.Assuming(only("A:KEY"))
			o := sure.Evaluate(decrypt(alice, a("x")))
			if o.Effect != tt.want {
				t.Errorf("%v, want %v", o.Effect, tt.want)
			}
			if len(p.Statements[0].Conditions) != before {
				t.Error("the policy itself was changed")
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	p := mustParse(b, doc(`{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Describe*","Resource":"*"},`+
		allow(`,"Condition":{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:PCR0":"aa","kms:RecipientAttestation:PCR8":"bb"}}`)))
	r := decrypt(app, map[string][]string{
		"kms:RecipientAttestation:PCR0": {"aa"}, "kms:RecipientAttestation:PCR1": {"aa"}, "kms:RecipientAttestation:PCR2": {"aa"},
		"kms:RecipientAttestation:PCR8": {"bb"}, "aws:PrincipalArn": {app.Role}, "kms:KeySpec": {"SYMMETRIC_DEFAULT"},
	})
	b.ReportAllocs()
	for b.Loop() {
		if p.Evaluate(r).Effect != Allow {
			b.Fatal("denied")
		}
	}
}
