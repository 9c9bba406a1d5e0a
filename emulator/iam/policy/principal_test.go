package policy

import "testing"

// Whom a statement is about.
func TestPrincipals(t *testing.T) {
	const (
		self    = "direct"
		account = "delegated"
		nobody  = ""
	)
	people := []struct {
		name string
		Principal
	}{{"alice", alice}, {"root", root}, {"app", app}, {"stranger", stranger}, {"landlord", landlord}}
	tests := []struct {
		member string
		want   [5]string // of people
	}{
		{`"Principal":"*"`, [5]string{self, self, self, self, self}},
		{`"Principal":{"AWS":"*"}`, [5]string{self, self, self, self, self}},
		{`"Principal":{"AWS":"111122223333"}`, [5]string{account, self, account}},
		{`"Principal":{"AWS":"arn:aws:iam::111122223333:root"}`, [5]string{account, self, account}},
		{`"Principal":{"AWS":"arn:aws:iam::444455556666:root"}`, [5]string{3: account, 4: self}},
		{`"Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"}`, [5]string{self}},
		{`"Principal":{"AWS":"arn:aws:iam::111122223333:user/ALICE"}`, [5]string{}},
		{`"Principal":{"AWS":"arn:aws:iam::444455556666:user/alice"}`, [5]string{}},
		{`"Principal":{"AWS":"arn:aws:iam::111122223333:role/team/app"}`, [5]string{2: self}},
		{`"Principal":{"AWS":"arn:aws:iam::111122223333:role/app"}`, [5]string{}}, // the path is part of it
		{`"Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/app/i-1"}`, [5]string{2: self}},
		{`"Principal":{"AWS":"arn:aws:sts::111122223333:assumed-role/app/i-2"}`, [5]string{}},
		{`"Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:user/alice"]}`, [5]string{self, self, account}},
		{`"Principal":{"AWS":"AIDAQ3EGRIT3EXAMPLE12"}`, [5]string{}},
		{`"Principal":{"Service":"ec2.amazonaws.com"}`, [5]string{}},
		{`"Principal":{"Federated":"*"}`, [5]string{}},
		{`"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/alice"}`, [5]string{nobody, self, self, self, self}},
		{`"NotPrincipal":{"AWS":"111122223333"}`, [5]string{3: self, 4: self}},
		{`"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:role/team/app"}`, [5]string{self, self, nobody, self, self}},
		{`"NotPrincipal":"*"`, [5]string{}},
		{``, [5]string{}}, // no resource policy
	}
	for _, tt := range tests {
		member := tt.member
		if member != "" {
			member += ","
		}
		p := mustParse(t, doc(`{"Effect":"Allow",`+member+`"Action":"kms:Decrypt","Resource":"*"}`))
		for i, who := range people {
			got := nobody
			if o := p.Evaluate(decrypt(who.Principal, nil)); o.Effect == Allow {
				got = self
				if o.Delegated {
					got = account
				}
			}
			if got != tt.want[i] {
				t.Errorf("Allow with %s: %s has %q, want %q", tt.member, who.name, got, tt.want[i])
			}
		}
	}
}

// Deny is about whoever it names in any way, and NotPrincipal spares only whom it
// names in every way.
func TestDenyPrincipals(t *testing.T) {
	people := []Principal{alice, root, app, stranger}
	tests := []struct {
		member string
		denied [4]bool
	}{
		{`"Principal":"*"`, [4]bool{true, true, true, true}},
		{`"Principal":{"AWS":"111122223333"}`, [4]bool{true, true, true, false}},
		{`"Principal":{"AWS":"arn:aws:iam::111122223333:role/team/app"}`, [4]bool{false, false, true, false}},
		{`"NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/alice"}`, [4]bool{true, true, true, true}},
		{`"NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/alice","111122223333"]}`, [4]bool{false, false, true, true}},
		{`"NotPrincipal":{"AWS":["arn:aws:iam::111122223333:role/team/app","arn:aws:iam::111122223333:root"]}`, [4]bool{true, false, true, true}},
		{`"NotPrincipal":{"AWS":["arn:aws:iam::111122223333:role/team/app","arn:aws:sts::111122223333:assumed-role/app/i-1","arn:aws:iam::111122223333:root"]}`, [4]bool{true, false, false, true}},
		{`"NotPrincipal":{"AWS":"*"}`, [4]bool{}},
		{`"NotPrincipal":"*"`, [4]bool{}},
	}
	for _, tt := range tests {
		p := mustParse(t, doc(allow("")+`,{"Effect":"Deny",`+tt.member+`,"Action":"kms:Decrypt","Resource":"*"}`))
		for i, who := range people {
			o := p.Evaluate(decrypt(who, nil))
			if got := o.Effect == Deny; got != tt.denied[i] || got && o.Statement != &p.Statements[1] {
				t.Errorf("Deny with %s: %s has %v", tt.member, who.ARN, o.Effect)
			}
		}
	}
}

func TestAccountOf(t *testing.T) {
	for arn, want := range map[string]string{
		testKey: testAccount, alice.ARN: testAccount, "": "", "*": "", "arn:aws:s3:::b": "", "x:aws:kms:r:1:k": "", "arn:aws:kms:r:1": "",
	} {
		if got := AccountOf(arn); got != want {
			t.Errorf("%q: %q", arn, got)
		}
	}
	for _, who := range []Principal{{}, {ARN: "arn:aws:iam:::root"}, {Account: "1", ARN: "arn:aws:iam::2:root"}, {Account: "1", ARN: "arn:aws:iam::1:user/root"}, {Account: "1", ARN: "arn:aws:iam::1:root", Role: "r"}} {
		if who.IsRoot() {
			t.Errorf("%+v is root", who)
		}
	}
	if !root.IsRoot() {
		t.Error("root is not")
	}
}
