package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/eif"
)

const checkRole = "arn:aws:iam::111122223333:role/enclave"

// policyFile writes a policy of statements.
func policyFile(t testing.TB, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, []byte(policyText(statements...)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func policyText(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// enclaveUse is a statement for the role, with conditions on the attestation.
func enclaveUse(actions, conditions string) string {
	if conditions != "" {
		conditions = `,"Condition":{"StringEqualsIgnoreCase":{` + conditions + `}}`
	}
	return fmt.Sprintf(`{"Sid":"Use","Effect":"Allow","Principal":{"AWS":%q},"Action":%s,"Resource":"*"%s}`, checkRole, actions, conditions)
}

func attestationIs(register string, values ...eif.Digest) string {
	var list []string
	for _, v := range values {
		list = append(list, `"`+v.String()+`"`)
	}
	return `"kms:RecipientAttestation:` + register + `":[` + strings.Join(list, ",") + `]`
}

// signedEIF is an image and the same one signed.
func signedEIF(t testing.TB) (unsigned, signed string, m eif.Measurements) {
	t.Helper()
	unsigned, _ = smallEIF(t)
	certificate, key := keyPair(t)
	c, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	k, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := eif.NewSigner(c, k)
	if err != nil {
		t.Fatal(err)
	}
	signed = filepath.Join(t.TempDir(), "signed.eif")
	if m, err = eif.SignFile(signed, unsigned, signer); err != nil {
		t.Fatal(err)
	}
	return unsigned, signed, m
}

const attestedActions = `["kms:Decrypt","kms:GenerateDataKey*","kms:DeriveSharedSecret"]`

// What a person sees, to the letter: a policy that is right, and the same with a
// second statement that is not.
func TestKMSCheck(t *testing.T) {
	path, m := smallEIF(t)
	good := enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0))
	r := nitrolab(t, "kms", "check", policyFile(t, good), "--eif", path)
	want := `key policy for arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000

request        Decrypt     GenerateDataKey  GenerateDataKeyPair  DeriveSharedSecret  GenerateRandom
app.eif        released 1  released 1       released 1           released 1          -
debug mode     denied      denied           denied               denied              -
another image  denied      denied           denied               denied              -
no document    denied      denied           denied               denied              -

1  to role enclave by statement 0 (Use)
-  about no key, so that key policies do not decide
safe: none of 3 requests that should get no key does
`
	if diff := cmp.Diff(want, r.stdout); diff != "" || r.code != 0 || r.stderr != "" {
		t.Errorf("exit code %d, standard error %q, output (-want +got):\n%s", r.code, r.stderr, diff)
	}

	account := `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:Decrypt","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}}`
	r = nitrolab(t, "kms", "check", policyFile(t, good, account), "--eif", path)
	want = `key policy for arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000
error   statement 1 allows kms:Decrypt to any identity of account 111122223333 without a condition on the attestation: the answer is plain text, for no enclave at all

request        Decrypt     GenerateDataKey  GenerateDataKeyPair  DeriveSharedSecret  GenerateRandom
app.eif        released 1  released 2       released 2           released 2          -
debug mode     released 3  denied           denied               denied              -
another image  released 3  denied           denied               denied              -
no document    released 3  denied           denied               denied              -

1  to role enclave by statement 0 (Use); to any identity of account 111122223333 by statement 1, if an identity policy allows it too and aws:SourceIp fits
2  to role enclave by statement 0 (Use)
3  to role enclave by statement 1, if an identity policy allows it too and aws:SourceIp fits; to any identity of account 111122223333 by statement 1, if an identity policy allows it too and aws:SourceIp fits
-  about no key, so that key policies do not decide
leak: debug mode gets a key
leak: another image gets a key
leak: no document gets a key
unsafe: 3 of 3 requests that should get no key do
`
	if diff := cmp.Diff(want, r.stdout); diff != "" || r.code != 1 || r.stderr != "" {
		t.Errorf("exit code %d, standard error %q, output (-want +got):\n%s", r.code, r.stderr, diff)
	}
}

// The exit code is the verdict.
func TestKMSCheckVerdict(t *testing.T) {
	unsigned, signed, m := signedEIF(t)
	both := attestationIs("PCR0", m.PCR0) + "," + attestationIs("PCR8", m.PCR8)
	zero := eif.Digest{}
	old := eif.Digest{1, 2, 3}
	bob := strings.ReplaceAll(enclaveUse(`"kms:Decrypt"`, ""), checkRole, "arn:aws:iam::111122223333:user/bob")
	tests := []struct {
		name   string
		policy string
		args   []string
		code   int
		want   []string
	}{
		{"image", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0))), nil, 0, []string{"image of statement 0 (Use)", "safe: none of 3"}},
		{"signed image", policyText(enclaveUse(attestedActions, both)), []string{"--eif", signed}, 0, []string{"signed.eif without its signature           denied", "signed.eif by another signer               denied", "another image by the signer of signed.eif  denied", "safe: none of 4"}},
		{"unsigned image", policyText(enclaveUse(attestedActions, both)), []string{"--eif", unsigned}, 1, []string{"locked out: app.eif gets no key", "not for this image"}},
		{"both images", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0))), []string{"--eif", unsigned, "--eif", signed}, 0, []string{"app.eif ", "signed.eif ", "safe: "}},
		{"two of one name", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0))), []string{"--eif", unsigned, "--eif", unsigned}, 0, []string{"\napp.eif ", "\n" + unsigned + " "}},
		{"no document", policyText(enclaveUse(attestedActions, "")), nil, 1, []string{"error   statement 0 (Use) allows kms:Decrypt, kms:GenerateDataKey", "leak: no document gets a key"}},
		{"debug", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0, zero))), nil, 1, []string{"96 zeros", "leak: debug mode gets a key", "unsafe: 1 of 3"}},
		{"only one action", policyText(enclaveUse(`"kms:Decrypt"`, attestationIs("PCR0", m.PCR0)), enclaveUse(`"kms:DeriveSharedSecret"`, "")), nil, 1, []string{"debug mode                  denied      denied           denied               released "}},
		{"old image", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0, old))), []string{"--eif", unsigned}, 1, []string{"leak: other image 2 of statement 0 (Use) gets a key"}},
		{"way around", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0)), enclaveUse(`"kms:ReEncryptFrom"`, "")), nil, 1, []string{"allows kms:ReEncryptFrom", "unsafe: no request of the table, but see the errors above"}},
		{"warning only", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0)), enclaveUse(`"kms:PutKeyPolicy"`, "")), nil, 0, []string{"warning statement 1 (Use) allows kms:PutKeyPolicy", "safe: "}},
		{"role asks", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0)), bob), []string{"--role", checkRole}, 1, []string{"error   statement 1 (Use) allows kms:Decrypt to user bob", "no document                 denied", "unsafe: no request of the table"}},
		{"another role asks", policyText(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0))), []string{"--role", checkRole + "2", "--eif", unsigned}, 1, []string{"locked out: app.eif gets no key"}},
		{"identity policy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{` + attestationIs("ImageSha384", m.PCR0) + `}}}}`, nil, 0, []string{"identity policy for arn:aws:kms:us-east-1:111122223333:key/", "to whoever has the policy by statement 0", "safe: "}},
		{"key that is given", `{"Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:*:444455556666:key/*"}}`, []string{"--key", "arn:aws:kms:eu-west-1:111122223333:key/1234"}, 0, []string{"note    statement 0 is not about arn:aws:kms:eu-west-1:111122223333:key/1234"}},
		{"escape in a Sid", policyText(strings.Replace(enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0)), `"Use"`, `"Use\u001b[2J\n"`, 1)), nil, 0, []string{"statement 0 (Use?[2J?)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := nitrolabReading(t, tt.policy, append([]string{"kms", "check", "-"}, tt.args...)...)
			if r.code != tt.code || r.stderr != "" {
				t.Errorf("exit code %d, standard error %q, want %d", r.code, r.stderr, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("output lacks %q", want)
				}
			}
			if t.Failed() || strings.Contains(r.stdout, "\x1b") {
				t.Errorf("output:\n%s", r.stdout)
			}
			// Both forms agree.
			var report policyReport
			j := nitrolabReading(t, tt.policy, append([]string{"kms", "check", "-", "--json"}, tt.args...)...)
			if err := json.Unmarshal([]byte(j.stdout), &report); err != nil || j.code != r.code || report.Safe != (r.code == 0) {
				t.Errorf("--json: exit code %d, %v:\n%s", j.code, err, j.stdout)
			}
		})
	}
}

func TestKMSCheckJSON(t *testing.T) {
	path, m := smallEIF(t)
	file := policyFile(t, enclaveUse(`"kms:Decrypt"`, attestationIs("PCR0", m.PCR0, eif.Digest{})))
	r := nitrolab(t, "kms", "check", file, "--eif", path, "--json")
	var report policyReport
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 1 {
		t.Fatalf("exit code %d, %v", r.code, err)
	}
	if report.Safe || report.Kind != "key policy" || len(report.Findings) != 1 || len(report.Requests) != 4 || len(report.Missing) != 0 {
		t.Fatalf("%+v", report)
	}
	statement := 0
	released := []policyRelease{{Requester: "role enclave", Statement: &statement}}
	none := []policyRelease{}
	others := func(decrypt []policyRelease) map[string][]policyRelease {
		return map[string][]policyRelease{"kms:Decrypt": decrypt, "kms:GenerateDataKey": none, "kms:GenerateDataKeyPair": none, "kms:DeriveSharedSecret": none}
	}
	want := []policyRequest{
		{Name: "app.eif", Attested: true, Releases: others(released)},
		{Name: "debug mode", Leak: true, Releases: others(released)},
		{Name: "another image", Releases: others(none)},
		{Name: "no document", Releases: others(none)},
	}
	if diff := cmp.Diff(want, report.Requests); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A mistake has code 2: it is not a verdict.
func TestKMSCheckMistakes(t *testing.T) {
	path, m := smallEIF(t)
	good := policyFile(t, enclaveUse(attestedActions, attestationIs("PCR0", m.PCR0)))
	bad := policyFile(t, `{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEqual":{"a:b":"c"}}}`)
	half := policyFile(t, enclaveUse(attestedActions, ""), `{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}`)
	long := filepath.Join(t.TempDir(), "long.json")
	if err := os.WriteFile(long, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "number of arguments is 0; allowed is one POLICY, a file or - for standard input"},
		{[]string{good, good}, "number of arguments is 2"},
		{[]string{"/no/such/policy"}, "open /no/such/policy: no such file or directory"},
		{[]string{t.TempDir()}, "is a directory"},
		{[]string{bad}, bad + `: policy: Statement[0].Condition.StringEqual: unknown operator; allowed are such as`},
		{[]string{half}, half + ": policy: Statement[1]: Principal is missing"},
		{[]string{long}, long + ": policy has more than 32768 bytes"},
		{[]string{"-"}, "-: policy: document has 0 bytes; allowed are 1 to 32768"},
		{[]string{good, "--eif", "/no/such.eif"}, "--eif: eif: open /no/such.eif: no such file or directory"},
		{[]string{good, "--eif", good}, "--eif: "},
		{[]string{good, "--role", "enclave"}, "allowed is the form arn:aws:iam::123456789012:role/name"},
		{[]string{good, "--key", "alias/app"}, "allowed is the form arn:aws:kms:us-east-1:123456789012:key/"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			nitrolab(t, append([]string{"kms", "check"}, tt.args...)...).wantError(t, 2, tt.want)
		})
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[1000] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	nitrolab(t, "kms", "check", good, "--eif", path).wantError(t, 2, "eif_crc32 is ")
}

// Standard input that never ends does not hold up Ctrl-C.
func TestKMSCheckInterrupted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var f kmsCheck
	if _, err := f.check(ctx, r, "-"); ctx.Err() == nil || err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("error is %v", err)
	}
}
