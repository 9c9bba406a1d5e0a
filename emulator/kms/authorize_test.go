package kms

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

// TestConditionKeys has one condition key a row, with a value that the request has
// and one that it has not: the operation is allowed with the first only. A key that
// the service forgets fails the first.
func TestConditionKeys(t *testing.T) {
	e := newEnv(t)
	tags := []types.Tag{{TagKey: aws.String("team"), TagValue: aws.String("ml")}}
	symmetric := e.keyOf(t, &kms.CreateKeyInput{Tags: tags})
	signing := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	agreeing := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeKeyAgreement})
	hmac := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecHmac256, KeyUsage: types.KeyUsageTypeGenerateVerifyMac})
	must[*kms.CreateAliasOutput](t)(e.client(e.root).CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/weights"), TargetKeyId: &symmetric}))
	peer := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	spki := must[[]byte](t)(x509.MarshalPKIXPublicKey(&peer.PublicKey))
	user := e.user(t, testAccount, "app")
	arn := "arn:aws:iam::" + testAccount + ":user/app"

	encrypt := func(id string) any {
		return &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionContext: map[string]string{"app": "chat"}}
	}
	for _, tt := range []struct {
		key        string // of the ring
		op, action string
		in         any
		condition  string
		good, bad  string
		operator   string // StringEquals if empty
	}{
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:CallerAccount", testAccount, elsewhere, ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:PrincipalArn", arn, arn + "2", "ArnEquals"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:PrincipalAccount", testAccount, elsewhere, ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:username", "app", "root", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:PrincipalType", "User", "AssumedRole", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:SecureTransport", "true", "false", "Bool"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:CurrentTime", "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "DateGreaterThan"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:EpochTime", "1577836800", "32472144000", "DateGreaterThan"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:RequestedRegion", testRegion, "eu-west-1", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:ResourceAccount", testAccount, elsewhere, ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:ResourceTag/team", "ml", "web", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:KeyUsage", "ENCRYPT_DECRYPT", "SIGN_VERIFY", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:KeyOrigin", "AWS_KMS", "EXTERNAL", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:MultiRegion", "false", "true", "Bool"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:EncryptionContext:app", "chat", "mail", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:EncryptionContextKeys", "app", "other", "ForAnyValue:StringEquals"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:ResourceAliases", "alias/weights", "alias/other", "ForAnyValue:StringEquals"},
		{symmetric, "Encrypt", "", encrypt("arn:aws:kms:us-east-1:111122223333:alias/weights"), "kms:RequestAlias", "alias/weights", "alias/other", ""},
		{symmetric, "Encrypt", "", encrypt("alias/weights"), "kms:RequestAlias", "alias/weights", "alias/other", ""},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:RequestAlias", "true", "false", "Null"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "kms:ViaService", "true", "false", "Null"},
		{symmetric, "Encrypt", "", encrypt(symmetric), "aws:SourceIp", "true", "false", "Null"},
		{symmetric, "GenerateDataKeyPair", "", &kms.GenerateDataKeyPairInput{KeyId: &symmetric, KeyPairSpec: types.DataKeyPairSpecEccNistP256}, "kms:DataKeyPairSpec", "ECC_NIST_P256", "RSA_2048", ""},
		{symmetric, "ScheduleKeyDeletion", "", &kms.ScheduleKeyDeletionInput{KeyId: &symmetric}, "kms:ScheduleKeyDeletionPendingWindowInDays", "30", "7", "NumericEquals"},
		{symmetric, "CancelKeyDeletion", "", &kms.CancelKeyDeletionInput{KeyId: &symmetric}, "kms:KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048", ""},
		{symmetric, "EnableKey", "", &kms.EnableKeyInput{KeyId: &symmetric}, "kms:KeySpec", "SYMMETRIC_DEFAULT", "RSA_2048", ""},
		{symmetric, "EnableKeyRotation", "", &kms.EnableKeyRotationInput{KeyId: &symmetric, RotationPeriodInDays: aws.Int32(100)}, "kms:RotationPeriodInDays", "100", "365", "NumericEquals"},
		{symmetric, "TagResource", "", &kms.TagResourceInput{KeyId: &symmetric, Tags: tags}, "aws:RequestTag/team", "ml", "web", ""},
		{symmetric, "UntagResource", "", &kms.UntagResourceInput{KeyId: &symmetric, TagKeys: []string{"x"}}, "aws:TagKeys", "x", "team", "ForAllValues:StringEquals"},
		{symmetric, "PutKeyPolicy", "", &kms.PutKeyPolicyInput{KeyId: &symmetric, Policy: policyFor(), BypassPolicyLockoutSafetyCheck: true}, "kms:BypassPolicyLockoutSafetyCheck", "true", "false", "Bool"},
		{signing, "Sign", "", &kms.SignInput{KeyId: &signing, Message: []byte("m"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}, "kms:SigningAlgorithm", "ECDSA_SHA_256", "ECDSA_SHA_384", ""},
		{signing, "Sign", "", &kms.SignInput{KeyId: &signing, Message: []byte("m"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}, "kms:MessageType", "RAW", "DIGEST", ""},
		{hmac, "GenerateMac", "", &kms.GenerateMacInput{KeyId: &hmac, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256}, "kms:MacAlgorithm", "HMAC_SHA_256", "HMAC_SHA_512", ""},
		{agreeing, "DeriveSharedSecret", "", &kms.DeriveSharedSecretInput{KeyId: &agreeing, KeyAgreementAlgorithm: "ECDH", PublicKey: spki}, "kms:KeyAgreementAlgorithm", "ECDH", "X", ""},
		{symmetric, "ReEncrypt", "kms:ReEncrypt*", nil, "kms:ReEncryptOnSameKey", "true", "false", "Bool"},
	} {
		t.Run(tt.op+" "+tt.condition, func(t *testing.T) {
			if tt.op == "ReEncrypt" {
				sealed := must[*kms.EncryptOutput](t)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &tt.key, Plaintext: []byte("x")}))
				tt.in = &kms.ReEncryptInput{CiphertextBlob: sealed.CiphertextBlob, DestinationKeyId: &tt.key}
			}
			operator, action := tt.operator, tt.action
			if operator == "" {
				operator = "StringEquals"
			}
			if action == "" {
				action = "kms:" + tt.op
			}
			for value, want := range map[string]int{tt.good: 200, tt.bad: 400} {
				statement := `{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"` + action + `","Resource":"*","Condition":{"` + operator + `":{"` + tt.condition + `":"` + value + `"}}}`
				must[*kms.PutKeyPolicyOutput](t)(e.client(e.root).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &tt.key, Policy: policyFor(statement)}))
				status, answer, _ := e.post(t, user, tt.op, tt.in)
				if status != want || (want == 400 && answer["__type"] != codeAccessDenied) {
					t.Errorf("condition on %q: %d %v", value, status, answer)
				}
			}
		})
	}
}

// TestWhoMay walks through the ways to a permission and to its refusal, with the
// sentences of the real service.
func TestWhoMay(t *testing.T) {
	e := newEnv(t)
	allow := func(action, resource string) string {
		return `{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`
	}
	userARN := func(name string) string { return "arn:aws:iam::" + testAccount + ":user/" + name }
	plain := e.user(t, testAccount, "plain")
	by := e.user(t, testAccount, "identity", allow("kms:Encrypt", "*"), allow("kms:CreateKey", "*"))
	denied := e.user(t, testAccount, "denied", `{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"}`)
	foreign := e.user(t, elsewhere, "foreign", allow("kms:*", "*"))
	foreignPlain := e.user(t, elsewhere, "plain")

	open := e.key(t, nil)
	named := e.key(t, aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["`+userARN("plain")+`","`+userARN("denied")+`","arn:aws:iam::`+elsewhere+`:root"]},"Action":"kms:Encrypt","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"`+iam.RootARN(testAccount)+`"},"Action":["kms:PutKeyPolicy","kms:CreateAlias"],"Resource":"*"}]}`))
	must[*kms.CreateAliasOutput](t)(e.client(e.root).CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/named"), TargetKeyId: &named}))

	for _, tt := range []struct {
		name  string
		who   iam.Credentials
		op    string
		in    any
		error string // how the message begins; empty is success
	}{
		{"root through the account", e.root, "Encrypt", encryptWith(open), ""},
		{"delegated, identity policy allows", by, "Encrypt", encryptWith(open), ""},
		{"delegated, no identity policy", plain, "Encrypt", encryptWith(open),
			"User: " + userARN("plain") + " is not authorized to perform: kms:Encrypt on resource: " + open + " because no identity-based policy allows the kms:Encrypt action"},
		{"named in the key policy", plain, "Encrypt", encryptWith(named), ""},
		{"identity policy alone", by, "Encrypt", encryptWith(named),
			"User: " + userARN("identity") + " is not authorized to perform: kms:Encrypt on resource: " + named + " because no resource-based policy allows the kms:Encrypt action"},
		{"named, denied by the identity policy", denied, "Encrypt", encryptWith(named),
			"User: " + userARN("denied") + " is not authorized to perform: kms:Encrypt on resource: " + named + " with an explicit deny in an identity-based policy"},
		{"root not in the key policy", e.root, "Encrypt", encryptWith(named),
			"User: " + iam.RootARN(testAccount) + " is not authorized to perform: kms:Encrypt on resource: " + named + " because no resource-based policy allows the kms:Encrypt action"},
		{"CreateKey by identity policy", by, "CreateKey", map[string]any{}, ""},
		{"CreateKey without", plain, "CreateKey", map[string]any{}, "User: " + userARN("plain") + " is not authorized to perform: kms:CreateKey because no identity-based policy allows the kms:CreateKey action"},
		{"CreateKey with tags, without kms:TagResource", by, "CreateKey", map[string]any{"Tags": []map[string]string{{"TagKey": "a", "TagValue": "b"}}}, "User: " + userARN("identity") + " is not authorized to perform: kms:TagResource"},
		{"GenerateRandom without", plain, "GenerateRandom", map[string]any{"NumberOfBytes": 1}, "User: " + userARN("plain") + " is not authorized to perform: kms:GenerateRandom"},
		{"another account, both policies", foreign, "Encrypt", encryptWith(named), ""},
		{"another account, by alias ARN", foreign, "Encrypt", encryptWith("arn:aws:kms:us-east-1:111122223333:alias/named"), ""},
		{"another account, key policy alone", foreignPlain, "Encrypt", encryptWith(named), "User: arn:aws:iam::" + elsewhere + ":user/plain is not authorized to perform: kms:Encrypt on resource: " + named},
		{"another account, identity policy alone", foreign, "Encrypt", encryptWith(open), "User: arn:aws:iam::" + elsewhere + ":user/foreign is not authorized to perform: kms:Encrypt on resource: " + open},
		{"another account, by key id", foreign, "Encrypt", encryptWith(named[len(named)-36:]), "Invalid keyId"},
		{"another account, key that is not there", foreign, "Encrypt", encryptWith(named[:len(named)-36] + noKeyID), "User: arn:aws:iam::" + elsewhere + ":user/foreign is not authorized to perform: kms:Encrypt on this resource because"},
		{"another account, CreateKey", foreign, "CreateKey", map[string]any{}, "nitrolab does not emulate keys of account " + elsewhere},
		{"another account, DeleteAlias", foreign, "DeleteAlias", map[string]any{"AliasName": "alias/named"}, "User: arn:aws:iam::" + elsewhere + ":user/foreign is not authorized to perform: kms:DeleteAlias on this resource"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer, _ := e.post(t, tt.who, tt.op, tt.in)
			message, _ := answer["Message"].(string)
			if lower, ok := answer["message"].(string); ok {
				message = lower
			}
			if (status == 200) != (tt.error == "") || !strings.HasPrefix(message, tt.error) {
				t.Errorf("got %d %v\nwant %q", status, answer, tt.error)
			}
		})
	}
	for op, want := range map[string]int{"ListKeys": 0, "ListAliases": 0} {
		_, answer, _ := e.post(t, foreign, op, map[string]any{})
		list, _ := answer[strings.TrimPrefix(op, "List")].([]any)
		if len(list) != want {
			t.Errorf("%s of another account: %v", op, answer)
		}
	}
}

func encryptWith(id string) any { return &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")} }

// TestHiddenKey: who names no key and may not use it learns nothing about it, whether
// it is there or not.
func TestHiddenKey(t *testing.T) {
	e := newEnv(t)
	id := e.key(t, nil)
	plain := e.user(t, testAccount, "plain")
	sealed := must[*kms.EncryptOutput](t)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}))
	_, there, _ := e.post(t, plain, "Decrypt", &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
	gone := append([]byte(nil), sealed.CiphertextBlob...)
	gone[5] ^= 1 // the first byte of the key id
	_, missing, _ := e.post(t, plain, "Decrypt", &kms.DecryptInput{CiphertextBlob: gone})
	if there["__type"] != codeAccessDenied || there["Message"] != missing["Message"] || !strings.HasPrefix(there["Message"].(string), "The ciphertext refers to a customer master key that does not exist") {
		t.Errorf("there: %v\nnot there: %v", there, missing)
	}
}

// TestAliasPermissions: both the alias and the key must be open to the caller.
func TestAliasPermissions(t *testing.T) {
	e := newEnv(t)
	id := e.key(t, nil)
	alias := "arn:aws:kms:us-east-1:111122223333:alias/a"
	for name, tt := range map[string]struct {
		resources string
		want      any
	}{
		"both":  {`"*"`, nil},
		"alias": {`"` + alias + `"`, codeAccessDenied},
		"key":   {`"` + id + `"`, codeAccessDenied},
	} {
		user := e.user(t, testAccount, name, `{"Effect":"Allow","Action":"kms:CreateAlias","Resource":`+tt.resources+`}`)
		status, answer, _ := e.post(t, user, "CreateAlias", &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: &id})
		if answer["__type"] != tt.want {
			t.Errorf("allowed on %s: %d %v", name, status, answer)
		}
	}
}

// TestUpdateAliasPermissions: the key that loses the alias has a say too.
func TestUpdateAliasPermissions(t *testing.T) {
	e := newEnv(t)
	was, now := e.key(t, nil), e.key(t, nil)
	alias := "arn:aws:kms:us-east-1:111122223333:alias/a"
	must[*kms.CreateAliasOutput](t)(e.client(e.root).CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: &was}))
	for _, tt := range []struct {
		name, resources string
		want            any
	}{
		{"new", `["` + alias + `","` + now + `"]`, codeAccessDenied},
		{"old", `["` + alias + `","` + was + `"]`, codeAccessDenied},
		{"both", `["` + alias + `","` + was + `","` + now + `"]`, nil},
	} {
		user := e.user(t, testAccount, tt.name, `{"Effect":"Allow","Action":"kms:UpdateAlias","Resource":`+tt.resources+`}`)
		_, answer, _ := e.post(t, user, "UpdateAlias", &kms.UpdateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: &now})
		if answer["__type"] != tt.want {
			t.Errorf("allowed on the alias and %s: %v", tt.name, answer)
		}
	}
}

// TestReEncryptPermissions: kms:ReEncryptFrom on the one key, kms:ReEncryptTo on the
// other, with the encryption context of each.
func TestReEncryptPermissions(t *testing.T) {
	e := newEnv(t)
	from, to := e.key(t, nil), e.key(t, nil)
	source, destination := map[string]string{"side": "source"}, map[string]string{"side": "destination"}
	sealed := must[*kms.EncryptOutput](t)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &from, Plaintext: []byte("x"), EncryptionContext: source}))
	allow := func(action, key, side string) string {
		return `{"Effect":"Allow","Action":"kms:` + action + `","Resource":"` + key + `","Condition":{"StringEquals":{"kms:EncryptionContext:side":"` + side + `","kms:ReEncryptOnSameKey":"false"}}}`
	}
	for i, tt := range []struct {
		name       string
		statements []string
		want       any
	}{
		{"both", []string{allow("ReEncryptFrom", from, "source"), allow("ReEncryptTo", to, "destination")}, nil},
		{"from", []string{allow("ReEncryptFrom", from, "source")}, codeAccessDenied},
		{"to", []string{allow("ReEncryptTo", to, "destination")}, codeAccessDenied},
		{"crossed", []string{allow("ReEncryptFrom", to, "source"), allow("ReEncryptTo", from, "destination")}, codeAccessDenied},
		{"contexts crossed", []string{allow("ReEncryptFrom", from, "destination"), allow("ReEncryptTo", to, "source")}, codeAccessDenied},
	} {
		user := e.user(t, testAccount, fmt.Sprintf("user%d", i), tt.statements...)
		_, answer, _ := e.post(t, user, "ReEncrypt", &kms.ReEncryptInput{
			CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: source, DestinationKeyId: &to, DestinationEncryptionContext: destination,
		})
		if answer["__type"] != tt.want {
			t.Errorf("%s: %v", tt.name, answer)
		}
	}
}

// TestDryRun: everything is checked, nothing is given.
func TestDryRun(t *testing.T) {
	e := newEnv(t)
	id := e.key(t, nil)
	en := e.enclave(t, e.authority)
	plain := e.user(t, testAccount, "plain")
	sealed := must[*kms.EncryptOutput](t)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}))
	dry := aws.Bool(true)
	for _, tt := range []struct {
		name string
		who  iam.Credentials
		op   string
		in   any
		want string
	}{
		{"encrypt", e.root, "Encrypt", &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x"), DryRun: dry}, codeDryRun},
		{"decrypt", e.root, "Decrypt", &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, DryRun: dry}, codeDryRun},
		{"decrypt, attested", e.root, "Decrypt", &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, DryRun: dry, Recipient: en.recipient(t)}, codeDryRun},
		{"bad ciphertext", e.root, "Decrypt", &kms.DecryptInput{KeyId: &id, CiphertextBlob: []byte("x"), DryRun: dry}, "InvalidCiphertextException"},
		{"no ciphertext", e.root, "Decrypt", &kms.DecryptInput{KeyId: &id, DryRun: dry}, codeValidation},
		{"no ciphertext, ignored", e.root, "Decrypt", &kms.DecryptInput{KeyId: &id, DryRun: dry, DryRunModifiers: []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext}}, codeDryRun},
		{"ignored without DryRun", e.root, "Decrypt", &kms.DecryptInput{KeyId: &id, DryRunModifiers: []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext}}, codeValidation},
		{"re-encrypt, ignored", e.root, "ReEncrypt", &kms.ReEncryptInput{SourceKeyId: &id, DestinationKeyId: &id, DryRun: dry, DryRunModifiers: []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext}}, codeDryRun},
		{"not allowed", plain, "Encrypt", &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x"), DryRun: dry}, codeAccessDenied},
	} {
		status, answer, _ := e.post(t, tt.who, tt.op, tt.in)
		if status != 400 || answer["__type"] != tt.want {
			t.Errorf("%s: %d %v, want %s", tt.name, status, answer, tt.want)
		}
	}
}

// TestPolicyOfAnotherMaking: a stored policy that cannot be read opens nothing, and
// the caller is not told why.
func TestPolicyOfAnotherMaking(t *testing.T) {
	e := newEnv(t)
	id := e.key(t, nil)
	if err := e.ring.SetPolicy(id[len(id)-36:], `{"Version":`); err != nil {
		t.Fatal(err)
	}
	status, answer, _ := e.post(t, e.root, "DescribeKey", map[string]string{"KeyId": id})
	if text := string(must[[]byte](t)(json.Marshal(answer))); status != 500 || answer["__type"] != codeInternal || strings.Contains(text, "Version") {
		t.Errorf("got %d %s", status, text)
	}
}
