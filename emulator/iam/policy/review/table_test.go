package review

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// row is what a request gets, a letter for each of RecipientActions.
func row(r Report, i int) string {
	var b strings.Builder
	for _, releases := range r.Releases[i] {
		switch {
		case len(releases) == 0:
			b.WriteByte('-')
		case releases[0].ByIdentity:
			b.WriteByte('i') // if an identity policy agrees
		default:
			b.WriteByte('K')
		}
	}
	return b.String()
}

// table is the report in lines of request, row, and * for a leak or ! for an image
// that is locked out.
func table(r Report) []string {
	var lines []string
	for i, request := range r.Requests {
		line := row(r, i) + " " + request.Name
		if slices.Contains(r.Leaks(), i) {
			line += " *"
		}
		if slices.Contains(r.LockedOut(), i) {
			line += " !"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTable(t *testing.T) {
	signed := Image{Name: "app", PCR0: pcr0, PCR1: pcr1, PCR2: pcr2, PCR8: pcr8}
	unsigned := Image{Name: "app", PCR0: pcr0, PCR1: pcr1, PCR2: pcr2}
	tests := []struct {
		name       string
		statements []string
		images     []Image
		requesters []string
		want       []string
	}{
		{"right", []string{use(is(equal, "PCR0", q(pcr0)))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "----- no document",
		}},
		{"right, image not given", []string{use(is(equal, "PCR0", q(pcr0)))}, nil, nil, []string{
			"KKKK- image of statement 0", "----- debug mode", "----- another image", "----- no document",
		}},
		{"no image at all", []string{statement("Allow", `"kms:Encrypt"`, "")}, nil, nil, []string{
			"----- an image !", "----- debug mode", "----- another image", "----- no document",
		}},
		{"B1", []string{use(is(equal, "PCR0", q(pcr0))), statement("Allow", `"kms:Decrypt"`, "")}, []Image{unsigned}, nil, []string{
			"KKKK- app", "K---- debug mode *", "K---- another image *", "K---- no document *",
		}},
		{"B1 by the account", []string{`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`}, []Image{unsigned}, nil, []string{
			"iiii- app", "iiii- debug mode *", "iiii- another image *", "iiii- no document *",
		}},
		{"B2", []string{use(is(equal, "PCR0", q(pcr0, zero)))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "KKKK- debug mode *", "----- another image", "----- no document",
		}},
		{"B7", []string{statement("Allow", `["kms:Decrypt","kms:GenerateRandom"]`, when(is(equal, "PCR0", q(pcr0)))), statement("Allow", `"kms:DeriveSharedSecret"`, "")}, []Image{unsigned}, nil, []string{
			"K--K- app", "---K- debug mode *", "---K- another image *", "---K- no document *",
		}},
		{"IfExists", []string{use(is("StringEqualsIfExists", "PCR0", q(pcr0)))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "KKKK- no document *",
		}},
		{"any image", []string{use(is("StringLike", "ImageSha384", q("*")))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "KKKK- debug mode *", "KKKK- another image *", "----- no document",
		}},
		{"other image in the policy", []string{use(is(equal, "PCR0", q(old0)))}, []Image{unsigned}, nil, []string{
			"----- app !", "----- debug mode", "----- another image", "KKKK- other image of statement 0 *", "----- no document",
		}},
		{"old image still in the policy", []string{use(is(equal, "PCR0", q(old0, strings.ToUpper(pcr0))))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "KKKK- other image 1 of statement 0 *", "----- no document",
		}},
		{"both images given", []string{use(is(equal, "PCR0", q(old0, pcr0)))}, []Image{unsigned, {Name: "old", PCR0: old0, PCR1: pcr1, PCR2: stranger("b2")}}, nil, []string{
			"KKKK- app", "KKKK- old", "----- debug mode", "----- another image", "----- no document",
		}},
		{"revoked image", []string{use(is(equal, "PCR0", q(pcr0))), statement("Deny", `"*"`, when(is(equal, "PCR0", q(old0))))}, nil, nil, []string{
			"KKKK- image of statement 0", "----- debug mode", "----- another image", "----- no document",
		}},
		{"one Deny for all", []string{statement("Allow", `"kms:*"`, ""), statement("Deny", useActions, when(is("StringNotEqualsIgnoreCase", "PCR0", q(pcr0))))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "----- no document",
		}},
		{"upper case", []string{use(is("StringEquals", "PCR0", q(strings.ToUpper(pcr0))))}, []Image{unsigned}, nil, []string{
			"----- app !", "----- debug mode", "----- another image", "----- no document",
		}},
		{"kernel", []string{use(is(equal, "PCR1", q(pcr1)))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "KKKK- another application on the kernel of app *", "----- no document",
		}},
		{"application", []string{use(is(equal, "PCR2", q(pcr2)))}, []Image{unsigned}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "KKKK- the application of app on another kernel *", "----- no document",
		}},
		{"image and signer", []string{use(is(equal, "PCR0", q(pcr0), "PCR8", q(pcr8)))}, []Image{signed}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "----- another image by the signer of app", "----- another image by another signer",
			"----- app without its signature", "----- app by another signer", "----- no document",
		}},
		{"signer, unsigned image", []string{use(is(equal, "PCR0", q(pcr0), "PCR8", q(pcr8)))}, []Image{unsigned}, nil, []string{
			"----- app !", "----- debug mode", "----- another image", "----- another image by another signer", "----- app by another signer", "----- no document",
		}},
		{"signer alone", []string{use(is(equal, "PCR8", q(pcr8)))}, []Image{signed}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "KKKK- another image by the signer of app", "----- another image by another signer",
			"----- app without its signature", "----- app by another signer", "----- no document",
		}},
		{"signed image, policy without signer", []string{use(is(equal, "PCR0", q(pcr0)))}, []Image{signed}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "----- another image by another signer",
			"KKKK- app without its signature", "KKKK- app by another signer", "----- no document",
		}},
		{"any signer", []string{use(is("StringNotEquals", "PCR8", q(zero)), `"Null":{"kms:RecipientAttestation:PCR8":"false"}`)}, []Image{signed}, nil, []string{
			"KKKK- app", "----- debug mode", "----- another image", "KKKK- another image by the signer of app", "KKKK- another image by another signer *",
			"----- app without its signature", "KKKK- app by another signer", "----- no document",
		}},
		{"NitroTPM", []string{use(is(equal, "NitroTPMPCR4", q(pcr0)))}, []Image{unsigned}, nil, []string{
			"----- app !", "----- debug mode", "----- another image", "----- no document",
		}},
		{"role that is named", []string{use(is(equal, "PCR0", q(pcr0))), `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"kms:Decrypt","Resource":"*"}`}, []Image{unsigned}, []string{role}, []string{
			"KKKK- app", "----- debug mode", "----- another image", "----- no document",
		}},
		{"role that is not", []string{use(is(equal, "PCR0", q(pcr0)))}, []Image{unsigned}, []string{role + "2"}, []string{
			"----- app !", "----- debug mode", "----- another image", "----- no document",
		}},
		{"identity policy", []string{`{"Effect":"Allow","Action":"kms:*","Resource":"*"` + when(is(equal, "PCR0", q(pcr0))) + `}`}, []Image{unsigned}, nil, []string{
			"KKKKK app", "----- debug mode", "----- another image", "----- no document",
		}},
		{"identity policy, random bytes are no leak", []string{`{"Effect":"Allow","Action":"kms:GenerateRandom","Resource":"*"}`}, []Image{unsigned}, nil, []string{
			"----K app !", "----K debug mode", "----K another image", "----K no document",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Case{Policy: parse(t, tt.statements...), Images: tt.images}
			for _, arn := range tt.requesters {
				r, ok := NewRequester(arn, nil)
				if !ok {
					t.Fatal(arn)
				}
				c.Requesters = append(c.Requesters, r)
			}
			if diff := cmp.Diff(tt.want, table(Table(c))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A release says to whom, by which statement, and on what it depends that is not
// known.
func TestRelease(t *testing.T) {
	p := parse(t,
		use(is(equal, "PCR0", q(pcr0)), `"StringEquals":{"kms:EncryptionContext:app":"x","aws:PrincipalArn":"`+role+`"},"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}`),
		`{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"kms:Decrypt","Resource":"*"`+when(`"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::444455556666:user/bob","aws:PrincipalAccount":"444455556666"}`)+`}`,
		`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"`+when(`"Bool":{"aws:SecureTransport":"false"}`)+`}`,
	)
	r := Table(Case{Policy: p, KeyARN: testKey})
	want := []Release{
		{Requester: "role enclave", Statement: &p.Statements[0], If: []string{"aws:SourceIp", "kms:EncryptionContext:app"}},
		{Requester: "any identity of account 444455556666", Statement: &p.Statements[1], ByIdentity: true, If: []string{"aws:PrincipalArn"}},
	}
	same := cmp.Comparer(func(a, b *policy.Statement) bool { return a == b })
	if diff := cmp.Diff(want, r.Releases[0][0], same); diff != "" {
		t.Errorf("Decrypt of the image (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:], r.Releases[len(r.Requests)-1][0], same); diff != "" {
		t.Errorf("Decrypt without a document (-want +got):\n%s", diff)
	}
	if r.KeyARN != testKey || r.Identity || r.Decides("kms:GenerateRandom") || !r.Decides("kms:Decrypt") {
		t.Errorf("%+v", r)
	}
	id := parse(t, `{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}`)
	r = Table(Case{Policy: id})
	want = []Release{{Requester: "whoever has the policy", Statement: &id.Statements[0]}}
	if diff := cmp.Diff(want, r.Releases[0][0], same); diff != "" || !r.Identity || !r.Decides("kms:GenerateRandom") {
		t.Errorf("identity policy (-want +got):\n%s", diff)
	}
}

// With an identity policy that is known, a delegating key policy is decided.
func TestKnownIdentity(t *testing.T) {
	key := parse(t, `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"}`)
	for text, want := range map[string]string{
		`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}`:                                                              "K---- K----",
		`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"` + when(is(equal, "PCR0", q(pcr0))) + `}`:                      "K---- -----",
		`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:us-east-1:444455556666:key/*"}`:                       "----- -----",
		`{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"` + when(`"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}`) + `}`: "K---- K----",
		`{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*"}`:                                                               "----- -----",
	} {
		who, _ := NewRequester(role, []*policy.Policy{parse(t, text)})
		r := Table(Case{Policy: key, Images: []Image{{Name: "app", PCR0: pcr0, PCR1: pcr1, PCR2: pcr2}}, Requesters: []Requester{who}})
		if got := row(r, 0) + " " + row(r, len(r.Requests)-1); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestImagesOf(t *testing.T) {
	p := parse(t,
		use(is(equal, "PCR0", q(pcr0, zero, old0), "ImageSha384", q(strings.ToUpper(pcr0)), "PCR8", q(pcr8))),
		use(is(equal, "PCR1", q(pcr1))),
		use(is(equal, "PCR0", q("short"))),
		use(is("StringNotEquals", "PCR0", q(stranger("no")))),
	)
	got := ImagesOf(p)
	var names []string
	for _, i := range got {
		names = append(names, i.Name)
	}
	if diff := cmp.Diff([]string{"image 1 of statement 0", "image 2 of statement 0", "image of statement 1"}, names); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if got[0].PCR0 != pcr0 || got[1].PCR0 != old0 || got[0].PCR8 != pcr8 || got[1].PCR8 != pcr8 || got[0].PCR1 != pcr1 {
		t.Errorf("%+v", got)
	}
	if got[2].PCR1 != pcr1 || got[2].PCR0 == pcr0 || got[2].PCR0 == old0 || got[2].PCR0 == zero {
		t.Errorf("%+v", got[2])
	}
}

func TestNewRequester(t *testing.T) {
	const account = "111122223333"
	for principal, want := range map[string]Requester{
		"*":                                    {Name: "anyone", Principal: policy.Principal{Account: noAccount, ARN: "arn:aws:iam::000000000000:user/anyone"}},
		account:                                {Name: "any identity of account " + account, Principal: policy.Principal{Account: account, ARN: "arn:aws:iam::111122223333:user/any"}},
		"arn:aws:iam::111122223333:root":       {Name: "root user of account " + account, Principal: policy.Principal{Account: account, ARN: "arn:aws:iam::111122223333:root"}},
		"arn:aws:iam::111122223333:user/a/bob": {Name: "user a/bob", Principal: policy.Principal{Account: account, ARN: "arn:aws:iam::111122223333:user/a/bob"}},
		"arn:aws:iam::111122223333:role/a/app": {Name: "role a/app", Principal: policy.Principal{
			Account: account, ARN: "arn:aws:sts::111122223333:assumed-role/app/i-00000000000000000", Role: "arn:aws:iam::111122223333:role/a/app",
		}},
		"arn:aws:sts::111122223333:assumed-role/app/i-1": {Name: "session app/i-1", Principal: policy.Principal{
			Account: account, ARN: "arn:aws:sts::111122223333:assumed-role/app/i-1", Role: "arn:aws:iam::111122223333:role/app",
		}},
		"arn:aws:sts::111122223333:federated-user/bob": {
			Name: "arn:aws:sts::111122223333:federated-user/bob", Principal: policy.Principal{Account: account, ARN: "arn:aws:sts::111122223333:federated-user/bob"},
		},
		"AROAQ3EGRIT3EXAMPLE12": {Name: "whoever has the unique id AROAQ3EGRIT3EXAMPLE12", Principal: policy.Principal{ARN: "AROAQ3EGRIT3EXAMPLE12"}},
	} {
		got, ok := NewRequester(principal, nil)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s (-want +got):\n%s", principal, diff)
		}
	}
	for _, text := range []string{"", "bob", "11112222333", "arn:aws:iam:::user/x", "1111222233334"} {
		if got, ok := NewRequester(text, nil); ok {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// Whatever the policy: no panic, and the table and the findings agree about who
// gets a key without a document, for key policies that are about their own key.
func FuzzReview(f *testing.F) {
	for _, s := range []string{
		use(is(equal, "PCR0", q(pcr0, zero))), statement("Allow", `"*"`, ""), `{"Effect":"Allow","NotAction":"kms:X","NotResource":"arn:aws:s3:*"}`,
		statement("Allow", `"kms:*"`, when(is("StringLikeIfExists", "PCR8", q("${aws:x}*")))) + `,{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}`,
	} {
		f.Add([]byte(`{"Version":"2012-10-17","Statement":[` + s + `]}`))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse(text)
		if err != nil || len(text) > 4096 {
			return
		}
		found, report := Policy(p, ""), Table(Case{Policy: p})
		for _, x := range found {
			if x.Text == "" || x.Statement >= len(p.Statements) || strings.ContainsAny(x.Text+x.Where(), "\n\x1b") {
				t.Fatalf("%+v", x)
			}
		}
		last := len(report.Requests) - 1
		leaks := slices.Contains(report.Leaks(), last)
		says := slices.ContainsFunc(found, func(x Finding) bool {
			return x.Severity == Error && (strings.Contains(x.Text, "for no enclave at all") || strings.Contains(x.Text, "also without an attestation"))
		})
		if leaks && !says {
			t.Fatalf("a key without a document, and no finding: %s\n%+v", row(report, last), found)
		}
	})
}

// A policy as large and as wide as there can be does not take for ever.
func BenchmarkTable(b *testing.B) {
	var accounts, images []string
	for i := range 100 {
		accounts = append(accounts, fmt.Sprintf(`"%012d"`, i+1))
		images = append(images, `"`+stranger(fmt.Sprint(i))+`"`)
	}
	p := parse(b, `{"Effect":"Allow","Principal":{"AWS":[`+strings.Join(accounts, ",")+`]},"Action":"*","Resource":"*"`+
		when(is(equal, "PCR0", `[`+strings.Join(images, ",")+`]`))+`}`)
	b.ReportAllocs()
	for b.Loop() {
		if r := Table(Case{Policy: p}); len(r.Leaks()) != 0 || len(Policy(p, "")) != 0 {
			b.Fatal("leaks")
		}
	}
}
