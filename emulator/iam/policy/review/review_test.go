package review

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

const (
	role    = "arn:aws:iam::111122223333:role/enclave"
	testKey = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

// Measurements of two images.
var (
	pcr0, pcr1, pcr2, pcr8 = stranger("a0"), stranger("a1"), stranger("a2"), stranger("a8")
	old0                   = stranger("b0")
)

func parse(t testing.TB, statements ...string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// statement is one for the role, on every resource, with more members.
func statement(effect, actions, more string) string {
	return fmt.Sprintf(`{"Effect":%q,"Principal":{"AWS":%q},"Action":%s,"Resource":"*"%s}`, effect, role, actions, more)
}

// when are the members of Condition.
func when(operators ...string) string { return `,"Condition":{` + strings.Join(operators, ",") + `}` }

// is is one operator on keys of the attestation.
func is(operator string, keysAndValues ...string) string {
	var members []string
	for pair := range slices.Chunk(keysAndValues, 2) {
		members = append(members, fmt.Sprintf("%q:%s", attestationPrefix+pair[0], pair[1]))
	}
	return fmt.Sprintf("%q:{%s}", operator, strings.Join(members, ","))
}

func q(values ...string) string {
	return `["` + strings.Join(values, `","`) + `"]`
}

const (
	useActions = `["kms:Decrypt","kms:GenerateDataKey","kms:GenerateDataKeyPair","kms:DeriveSharedSecret"]`
	allUse     = "kms:Decrypt, kms:GenerateDataKey, kms:GenerateDataKeyPair and kms:DeriveSharedSecret"
	equal      = "StringEqualsIgnoreCase"
)

// use is a statement for the enclave under conditions.
func use(operators ...string) string { return statement("Allow", useActions, when(operators...)) }

// Each mistake has a twin that is right, in which nothing is found.
func TestPolicy(t *testing.T) {
	good := use(is(equal, "PCR0", q(pcr0)))
	admin := `{"Sid":"Admin","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:Describe*","kms:List*","kms:Tag*","kms:ScheduleKeyDeletion","kms:Encrypt"],"Resource":"*"}`
	denyOthers := `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"` + when(`"Null":{"kms:RecipientAttestation:PCR0":"true"}`) + `}`
	noDocument := `allows %s to role enclave without a condition on the attestation: the answer is plain text, for no enclave at all`
	tests := []struct {
		name  string
		wrong []string
		want  []string // severity, statement, text
		right []string
	}{
		{
			"B1 second statement without a condition",
			[]string{good, statement("Allow", `"kms:Decrypt"`, "")},
			[]string{"error 1 " + fmt.Sprintf(noDocument, "kms:Decrypt")},
			[]string{good, statement("Allow", `"kms:Encrypt"`, "")},
		}, {
			"B1 the account's own statement",
			[]string{good, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:Decrypt","Resource":"*"}`},
			[]string{"error 1 allows kms:Decrypt to any identity of account 111122223333 without a condition"},
			[]string{good, admin},
		}, {
			"B1 AWS's default policy",
			[]string{`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`},
			[]string{
				"error 0 allows " + allUse + " to any identity of account 111122223333 without",
				"error 0 allows kms:ReEncryptFrom to any identity of account 111122223333: it takes no attestation",
				"note 0 allows kms:PutKeyPolicy, kms:CreateGrant and kms:ReplicateKey to any identity of account 111122223333 whose identity policy allows it",
			},
			[]string{admin},
		}, {
			"B1 another condition is none",
			[]string{statement("Allow", `"kms:Decrypt"`, when(`"StringEquals":{"kms:EncryptionContext:app":"x"}`))},
			[]string{"error 0 " + fmt.Sprintf(noDocument, "kms:Decrypt")},
			[]string{statement("Allow", `"kms:Decrypt"`, when(`"StringEquals":{"kms:EncryptionContext:app":"x","kms:RecipientAttestation:PCR0":"`+pcr0+`"}`))},
		}, {
			"B1 but a Deny stops it",
			[]string{statement("Allow", `"kms:Decrypt"`, ""), use(is(equal, "PCR0", q(pcr0)))},
			[]string{"error 0 " + fmt.Sprintf(noDocument, "kms:Decrypt")},
			[]string{statement("Allow", `"kms:Decrypt"`, ""), denyOthers, `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"` + when(is("StringNotEquals", "PCR0", q(pcr0))) + `}`},
		}, {
			"B1 everybody of an account",
			[]string{`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(`"StringEquals":{"aws:PrincipalAccount":"111122223333"}`) + `}`},
			[]string{"error 0 allows kms:Decrypt to anyone without a condition"},
			[]string{`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(`"StringEquals":{"aws:PrincipalAccount":"111122223333"}`, is(equal, "PCR0", q(pcr0))) + `}`},
		}, {
			"B2 96 zeros",
			[]string{use(is(equal, "PCR0", q(zero)))},
			[]string{"error 0 allows " + allUse + " to every enclave in debug mode: it lets 96 zeros through"},
			[]string{good},
		}, {
			"B2 zeros beside the image",
			[]string{use(is(equal, "ImageSha384", q(pcr0, zero)))},
			[]string{"error 0 allows " + allUse + " to every enclave in debug mode"},
			[]string{use(is(equal, "ImageSha384", q(pcr0)))},
		}, {
			"B2 zeros for PCR8 are any unsigned image",
			[]string{use(is(equal, "PCR8", q(zero)))},
			[]string{"error 0 allows " + allUse + " to every enclave image of role enclave: its conditions on the attestation name no image"},
			[]string{use(is(equal, "PCR8", q(pcr8)))},
		}, {
			"B7 only Decrypt is attested",
			[]string{statement("Allow", `"kms:Decrypt"`, when(is(equal, "PCR0", q(pcr0)))), statement("Allow", `["kms:GenerateDataKey","kms:GenerateDataKeyPair","kms:DeriveSharedSecret"]`, "")},
			[]string{"error 1 " + fmt.Sprintf(noDocument, "kms:GenerateDataKey, kms:GenerateDataKeyPair and kms:DeriveSharedSecret")},
			[]string{good},
		}, {
			"wildcard action",
			[]string{statement("Allow", `"kms:GenerateDataKey*"`, "")},
			[]string{"error 0 " + fmt.Sprintf(noDocument, "kms:GenerateDataKey and kms:GenerateDataKeyPair")},
			[]string{statement("Allow", `"kms:GenerateDataKey*"`, when(is(equal, "PCR0", q(pcr0)))), statement("Allow", `"kms:GenerateDataKey*Without*"`, "")},
		}, {
			"NotAction",
			[]string{`{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"NotAction":["kms:P*","kms:Re*","kms:Create*"],"Resource":"*"}`},
			[]string{"error 0 " + fmt.Sprintf(noDocument, allUse)},
			[]string{`{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"NotAction":["kms:P*","kms:Re*","kms:Create*","kms:De*","kms:Generate*"],"Resource":"*"}`},
		}, {
			"NotPrincipal",
			[]string{`{"Effect":"Allow","NotPrincipal":{"AWS":"` + role + `"},"Action":"kms:Decrypt","Resource":"*"}`},
			[]string{"error 0 allows kms:Decrypt to anyone without"},
			[]string{`{"Effect":"Allow","NotPrincipal":{"AWS":"` + role + `"},"Action":"kms:Encrypt","Resource":"*"}`},
		}, {
			"everybody",
			[]string{`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(is(equal, "PCR0", q(pcr0))) + `}`},
			[]string{"warning 0 is for anyone who runs the image, in any account"},
			[]string{`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(is(equal, "PCR0", q(pcr0)), `"StringEquals":{"kms:CallerAccount":"111122223333"}`) + `}`},
		}, {
			"unique id",
			[]string{`{"Effect":"Allow","Principal":{"AWS":"AROAQ3EGRIT3EXAMPLE12"},"Action":"kms:Decrypt","Resource":"*"}`},
			[]string{"error 0 allows kms:Decrypt to whoever has the unique id AROAQ3EGRIT3EXAMPLE12 without"},
			[]string{`{"Effect":"Allow","Principal":{"AWS":"AROAQ3EGRIT3EXAMPLE12"},"Action":"kms:Decrypt","Resource":"*"` + when(is(equal, "PCR0", q(pcr0))) + `}`},
		}, {
			"service",
			[]string{`{"Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com","a","b","c"]},"Action":"kms:Decrypt","Resource":"*"}`},
			[]string{"warning 0 allows kms:Decrypt to lambda.amazonaws.com, a, b and 1 more without a condition on the attestation; services"},
			[]string{`{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"kms:Encrypt","Resource":"*"}`},
		}, {
			"IfExists",
			[]string{use(is("StringEqualsIfExists", "PCR0", q(pcr0)))},
			[]string{"error 0 allows " + allUse + " to role enclave also without an attestation: StringEqualsIfExists on kms:RecipientAttestation:PCR0 is true if the key is absent; what is needed is such as StringEqualsIgnoreCase"},
			[]string{use(is("StringEquals", "PCR0", q(pcr0)))},
		}, {
			"ForAllValues",
			[]string{use(is("ForAllValues:StringEquals", "PCR0", q(pcr0)))},
			[]string{"error 0 allows " + allUse + " to role enclave also without an attestation: ForAllValues:StringEquals on kms:RecipientAttestation:PCR0 is true if the key is absent"},
			[]string{use(is("ForAnyValue:StringEquals", "PCR0", q(pcr0)))},
		}, {
			"only a negation",
			[]string{use(is("StringNotEquals", "PCR0", q(zero)))},
			[]string{"error 0 allows " + allUse + " to role enclave also without an attestation: StringNotEquals on kms:RecipientAttestation:PCR0 is a negation, which an absent key fulfils"},
			[]string{use(is("StringNotEquals", "PCR0", q(zero)), is("StringEquals", "PCR0", q(pcr0)))},
		}, {
			"Null the wrong way round",
			[]string{use(`"Null":{"kms:RecipientAttestation:PCR0":"true"}`)},
			[]string{"error 0 allows " + allUse + " to role enclave also without an attestation: Null on kms:RecipientAttestation:PCR0 wants the key to be absent"},
			[]string{use(`"Null":{"kms:RecipientAttestation:PCR0":"false"}`, is(equal, "PCR0", q(pcr0)))},
		}, {
			"any document will do",
			[]string{use(`"Null":{"kms:RecipientAttestation:PCR0":"false"}`)},
			[]string{"error 0 allows " + allUse + " to every enclave image of role enclave"},
			[]string{good},
		}, {
			"StringLike with a star",
			[]string{use(is("StringLike", "PCR0", q("*")))},
			[]string{
				"warning 0 a value of kms:RecipientAttestation:PCR0 has a wildcard",
				"error 0 allows " + allUse + " to every enclave image of role enclave",
			},
			[]string{use(is("StringLike", "PCR0", q(pcr0)))},
		}, {
			"StringLike with a beginning",
			[]string{use(is("StringLike", "PCR0", q(pcr0[:8]+"*")))},
			[]string{"warning 0 a value of kms:RecipientAttestation:PCR0 has a wildcard, so it names less than a measurement"},
			[]string{good},
		}, {
			"role and instance alone",
			[]string{use(is(equal, "PCR3", q(stranger("3"))))},
			[]string{"error 0 allows " + allUse + " to every enclave image of role enclave: its conditions on the attestation name no image"},
			[]string{use(is(equal, "PCR3", q(stranger("3")), "PCR0", q(pcr0)))},
		}, {
			"kernel alone",
			[]string{use(is(equal, "PCR1", q(pcr1)))},
			[]string{"error 0 allows " + allUse + " to more than the image: PCR1 is kernel and init"},
			[]string{use(is(equal, "PCR1", q(pcr1), "PCR2", q(pcr2)))},
		}, {
			"application alone",
			[]string{use(is(equal, "PCR2", q(pcr2)))},
			[]string{"error 0 allows " + allUse + " to more than the image: PCR2 is the application"},
			[]string{use(is(equal, "PCR2", q(pcr2), "PCR0", q(pcr0)))},
		}, {
			"upper case with StringEquals",
			[]string{use(is("StringEquals", "PCR0", q(strings.ToUpper(pcr0))))},
			[]string{"warning 0 a value of kms:RecipientAttestation:PCR0 has upper-case digits and StringEquals minds the case"},
			[]string{use(is(equal, "PCR0", q(strings.ToUpper(pcr0))))},
		}, {
			"too short",
			[]string{use(is(equal, "PCR0", q(pcr0[:64])))},
			[]string{"warning 0 a value of kms:RecipientAttestation:PCR0 has 64 characters; a measurement has 96"},
			[]string{good},
		}, {
			"not hexadecimal",
			[]string{use(is(equal, "PCR0", q(pcr0[:95]+"g")))},
			[]string{"warning 0 a value of kms:RecipientAttestation:PCR0 is not hexadecimal"},
			[]string{good},
		}, {
			"unknown register",
			[]string{use(is(equal, "PCR0", q(pcr0), "PCR32", q(pcr1)))},
			[]string{"warning 0 kms:RecipientAttestation:PCR32 is no key of KMS, so no request has it; there are ImageSha384, PCR0 to PCR31"},
			[]string{use(is(equal, "PCR0", q(pcr0), "PCR31", q(pcr1)))},
		}, {
			"register with a zero before it",
			[]string{use(is(equal, "PCR00", q(pcr0)))},
			[]string{"warning 0 kms:RecipientAttestation:PCR00 is no key of KMS"},
			[]string{use(is(equal, "pcr0", q(pcr0)))},
		}, {
			"NitroTPM",
			[]string{use(is(equal, "NitroTPMPCR4", q(pcr0)))},
			[]string{"note 0 kms:RecipientAttestation:NitroTPMPCR4 is of EC2 instances with NitroTPM; no enclave has it"},
			[]string{use(is(equal, "PCR4", q(pcr0), "PCR0", q(pcr0)))},
		}, {
			"operator for other values",
			[]string{use(is("ArnLike", "PCR0", q(pcr0)))},
			[]string{"warning 0 ArnLike on kms:RecipientAttestation:PCR0 compares no text; what is needed is StringEqualsIgnoreCase"},
			[]string{good},
		}, {
			"ReEncryptFrom",
			[]string{good, statement("Allow", `"kms:ReEncrypt*"`, "")},
			[]string{"error 1 allows kms:ReEncryptFrom to role enclave: it takes no attestation, and turns a ciphertext of this key into one of a key of their own"},
			[]string{good, statement("Allow", `"kms:ReEncryptTo"`, "")},
		}, {
			"PutKeyPolicy",
			[]string{good, statement("Allow", `["kms:PutKeyPolicy","kms:CreateGrant"]`, "")},
			[]string{"warning 1 allows kms:PutKeyPolicy and kms:CreateGrant to role enclave, who can so allow themselves what the policy denies"},
			[]string{good, statement("Allow", `["kms:GetKeyPolicy","kms:ListGrants"]`, "")},
		}, {
			"never true",
			[]string{statement("Allow", `["kms:Decrypt","kms:Encrypt","kms:DescribeKey"]`, when(is(equal, "PCR0", q(pcr0))))},
			[]string{"warning 0 never allows kms:Encrypt and kms:DescribeKey: no attestation goes with it"},
			[]string{good, statement("Allow", `["kms:Encrypt","kms:DescribeKey"]`, "")},
		}, {
			"Deny that spares who attests nothing",
			[]string{good, `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(is("ForAnyValue:StringNotEquals", "PCR0", q(pcr0))) + `}`},
			[]string{"warning 1 does not deny a request without an attestation: ForAnyValue:StringNotEquals on kms:RecipientAttestation:PCR0 is false if the key is absent"},
			[]string{good, `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(is("StringNotEquals", "PCR0", q(pcr0))) + `}`},
		}, {
			"Deny of two at once",
			[]string{good, `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(is("StringNotEquals", "PCR0", q(pcr0), "PCR8", q(pcr8))) + `}`},
			[]string{"warning 1 denies only what differs in all of kms:RecipientAttestation:PCR0 and kms:RecipientAttestation:PCR8"},
			[]string{good, `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(is("StringNotEquals", "PCR0", q(pcr0))) + `}`, `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + when(is("StringNotEquals", "PCR8", q(pcr8))) + `}`},
		}, {
			"another key",
			[]string{`{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":"kms:Decrypt","Resource":"` + testKey + `0"}`},
			[]string{"warning 0 is not about " + testKey + ": a key policy is about its own key"},
			[]string{`{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":"kms:Decrypt","Resource":"` + testKey + `"` + when(is(equal, "PCR0", q(pcr0))) + `}`},
		}, {
			"identity policy",
			[]string{`{"Effect":"Allow","Action":"kms:*","Resource":"*"}`},
			[]string{
				"error 0 allows " + allUse + " to whoever has the policy without",
				"error 0 allows kms:ReEncryptFrom to whoever has the policy",
				"warning 0 allows kms:PutKeyPolicy, kms:CreateGrant and kms:ReplicateKey to whoever has the policy",
			},
			[]string{`{"Effect":"Allow","Action":["kms:Decrypt","kms:GenerateRandom"],"Resource":"*"` + when(is(equal, "PCR0", q(pcr0))) + `}`},
		}, {
			"identity policy of another key",
			[]string{`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:*:444455556666:key/*"}`},
			[]string{"note 0 is not about " + testKey + ", and is judged for no other key"},
			[]string{`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:*:111122223333:key/*"` + when(is(equal, "PCR0", q(pcr0))) + `}`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := Policy(parse(t, tt.wrong...), testKey)
			for i, f := range found {
				got := fmt.Sprintf("%s %d %s", f.Severity, f.Statement, f.Text)
				if i >= len(tt.want) || !strings.HasPrefix(got, tt.want[i]) {
					t.Errorf("finding %d: %s", i, got)
				}
			}
			if len(found) != len(tt.want) {
				t.Errorf("%d findings, want %d", len(found), len(tt.want))
			}
			if found := Policy(parse(t, tt.right...), testKey); len(found) != 0 {
				t.Errorf("in the twin that is right: %+v", found)
			}
		})
	}
}

// A finding names its statement for people and for machines, and moves no cursor.
func TestFinding(t *testing.T) {
	s := strings.Replace(statement("Allow", `"kms:Decrypt"`, ""), `{`, `{"Sid":"Use\u001b[2J",`, 1)
	got := Policy(parse(t, use(is(equal, "PCR0", q(pcr0))), s), testKey)
	want := []Finding{{
		Severity: Error, Statement: 1, Sid: "Use\x1b[2J", Actions: []string{"kms:Decrypt"},
		Text: "allows kms:Decrypt to role enclave without a condition on the attestation: the answer is plain text, for no enclave at all",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if w := got[0].Where(); w != "statement 1 (Use?[2J)" {
		t.Errorf("Where is %q", w)
	}
	if w := (Finding{Statement: 3}).Where(); w != "statement 3" {
		t.Errorf("Where is %q", w)
	}
}

func TestKeyOf(t *testing.T) {
	made := func(region, account string) string {
		return "arn:aws:kms:" + region + ":" + account + ":key/00000000-0000-0000-0000-000000000000"
	}
	for resources, want := range map[string]string{
		`"*"`:                                                  made("us-east-1", "444455556666"),
		`"` + testKey + `"`:                                    testKey,
		`["*","` + testKey + `"]`:                              testKey,
		`"arn:aws:kms:eu-west-1:*:key/*"`:                      made("eu-west-1", "444455556666"),
		`"arn:aws:kms:*:111122223333:*"`:                       made("us-east-1", "111122223333"),
		`"arn:aws:kms:eu-west-1:*"`:                            made("eu-west-1", "444455556666"),
		`"arn:aws:kms:*"`:                                      made("us-east-1", "444455556666"),
		`"arn:aws:kms:*:*:key/ab?d-*"`:                         "arn:aws:kms:us-east-1:444455556666:key/ab0d-0",
		`"arn:aws:kms:*:*:alias/x"`:                            made("us-east-1", "444455556666"),
		`"arn:aws:s3:::bucket"`:                                made("us-east-1", "444455556666"),
		`"arn:aws:kms:${aws:r,'x'}:*:key/${aws:id}"`:           made("us-east-1", "444455556666"),
		`["arn:aws-cn:kms:*:*:key/*","arn:aws:kms:x:*:key/*"]`: "arn:aws-cn:kms:us-east-1:444455556666:key/00000000-0000-0000-0000-000000000000",
	} {
		p := parse(t, `{"Effect":"Allow","Principal":{"AWS":["AROAQ3EGRIT3EXAMPLE12","*","444455556666"]},"Action":"kms:*","Resource":`+resources+`}`)
		if got := KeyOf(p); got != want {
			t.Errorf("%s: %s, want %s", resources, got, want)
		}
	}
	if got := KeyOf(parse(t, `{"Effect":"Allow","Action":"*","Resource":"*"}`)); got != made("us-east-1", "111122223333") {
		t.Errorf("nobody named: %s", got)
	}
}
