package kms

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"
)

// The tests of this file are what the unmodified SDK sees over TLS.

var ctx = context.Background()

func TestSymmetricKey(t *testing.T) {
	e := newEnv(t)
	c := e.client(e.root)
	id := e.key(t, nil)
	encryption := map[string]string{"purpose": "weights"}
	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("secret"), EncryptionContext: encryption}))
	if *sealed.KeyId != id || sealed.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
		t.Errorf("Encrypt gave key %s, algorithm %s", *sealed.KeyId, sealed.EncryptionAlgorithm)
	}
	for name, keyID := range map[string]*string{"named": &id, "found in the ciphertext": nil} {
		opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{KeyId: keyID, CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: encryption}))
		if string(opened.Plaintext) != "secret" || *opened.KeyId != id || opened.KeyMaterialId == nil || opened.CiphertextForRecipient != nil {
			t.Errorf("Decrypt with the key %s: %+v", name, opened)
		}
	}
	_, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
	if got := code(err); got != "InvalidCiphertextException" {
		t.Errorf("Decrypt without the context: %q", got)
	}
	other := e.key(t, nil)
	_, err = c.Decrypt(ctx, &kms.DecryptInput{KeyId: &other, CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: encryption})
	if got := code(err); got != codeIncorrectKey {
		t.Errorf("Decrypt with another key: %q", got)
	}
	again := must[*kms.ReEncryptOutput](t)(c.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: encryption, DestinationKeyId: &other,
	}))
	if *again.SourceKeyId != id || *again.KeyId != other {
		t.Errorf("ReEncrypt from %s to %s", *again.SourceKeyId, *again.KeyId)
	}
	opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: again.CiphertextBlob}))
	if string(opened.Plaintext) != "secret" || *opened.KeyId != other {
		t.Errorf("Decrypt after ReEncrypt: %+v", opened)
	}
}

func TestDataKeys(t *testing.T) {
	e := newEnv(t)
	c := e.client(e.root)
	id := e.key(t, nil)
	decrypt := func(blob []byte) []byte {
		t.Helper()
		return must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob})).Plaintext
	}
	for _, in := range []struct {
		spec types.DataKeySpec
		n    *int32
		want int
	}{
		{types.DataKeySpecAes256, nil, 32},
		{types.DataKeySpecAes128, nil, 16},
		{"", aws.Int32(1024), 1024},
	} {
		key := must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: in.spec, NumberOfBytes: in.n}))
		if len(key.Plaintext) != in.want || !bytes.Equal(decrypt(key.CiphertextBlob), key.Plaintext) {
			t.Errorf("GenerateDataKey %s: %d bytes, or the ciphertext is of others", in.spec, len(key.Plaintext))
		}
	}
	hidden := must[*kms.GenerateDataKeyWithoutPlaintextOutput](t)(c.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &id, KeySpec: types.DataKeySpecAes128}))
	if got := decrypt(hidden.CiphertextBlob); len(got) != 16 || bytes.Equal(got, make([]byte, 16)) {
		t.Errorf("GenerateDataKeyWithoutPlaintext: %x", got)
	}
	pair := must[*kms.GenerateDataKeyPairOutput](t)(c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: &id, KeyPairSpec: types.DataKeyPairSpecEccNistP256}))
	private := must[any](t)(x509.ParsePKCS8PrivateKey(pair.PrivateKeyPlaintext)).(*ecdsa.PrivateKey)
	public := must[any](t)(x509.ParsePKIXPublicKey(pair.PublicKey)).(*ecdsa.PublicKey)
	if !private.PublicKey.Equal(public) || !bytes.Equal(decrypt(pair.PrivateKeyCiphertextBlob), pair.PrivateKeyPlaintext) {
		t.Error("GenerateDataKeyPair: the halves do not belong together")
	}
	two := must[*kms.GenerateDataKeyPairWithoutPlaintextOutput](t)(c.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: &id, KeyPairSpec: types.DataKeyPairSpecEccNistP256}))
	private = must[any](t)(x509.ParsePKCS8PrivateKey(decrypt(two.PrivateKeyCiphertextBlob))).(*ecdsa.PrivateKey)
	if public = must[any](t)(x509.ParsePKIXPublicKey(two.PublicKey)).(*ecdsa.PublicKey); !private.PublicKey.Equal(public) {
		t.Error("GenerateDataKeyPairWithoutPlaintext: the halves do not belong together")
	}
	random := must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(24)}))
	if len(random.Plaintext) != 24 {
		t.Errorf("GenerateRandom: %d bytes", len(random.Plaintext))
	}
}

func TestAsymmetricKeys(t *testing.T) {
	e := newEnv(t)
	c := e.client(e.root)
	digest := sha256.Sum256([]byte("message"))
	signing := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	signed := must[*kms.SignOutput](t)(c.Sign(ctx, &kms.SignInput{KeyId: &signing, Message: digest[:], MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}))
	got := must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &signing}))
	public := must[any](t)(x509.ParsePKIXPublicKey(got.PublicKey)).(*ecdsa.PublicKey)
	if !ecdsa.VerifyASN1(public, digest[:], signed.Signature) {
		t.Error("Sign: the signature is not valid under GetPublicKey")
	}
	verified := must[*kms.VerifyOutput](t)(c.Verify(ctx, &kms.VerifyInput{KeyId: &signing, Message: []byte("message"), Signature: signed.Signature, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}))
	if !verified.SignatureValid {
		t.Error("Verify: not valid")
	}
	_, err := c.Verify(ctx, &kms.VerifyInput{KeyId: &signing, Message: []byte("another"), Signature: signed.Signature, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	if got := code(err); got != "KMSInvalidSignatureException" {
		t.Errorf("Verify of another message: %q", got)
	}

	agreeing := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP384, KeyUsage: types.KeyUsageTypeKeyAgreement})
	got = must[*kms.GetPublicKeyOutput](t)(c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &agreeing}))
	peer := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	spki := must[[]byte](t)(x509.MarshalPKIXPublicKey(&peer.PublicKey))
	derived := must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: &agreeing, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: spki}))
	mine := must[*ecdh.PrivateKey](t)(peer.ECDH())
	theirs := must[*ecdh.PublicKey](t)(must[any](t)(x509.ParsePKIXPublicKey(got.PublicKey)).(*ecdsa.PublicKey).ECDH())
	if want := must[[]byte](t)(mine.ECDH(theirs)); !bytes.Equal(derived.SharedSecret, want) {
		t.Error("DeriveSharedSecret: the sides do not agree")
	}

	encrypting := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt})
	algorithm := types.EncryptionAlgorithmSpecRsaesOaepSha256
	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: &encrypting, Plaintext: []byte("secret"), EncryptionAlgorithm: algorithm}))
	opened := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{KeyId: &encrypting, CiphertextBlob: sealed.CiphertextBlob, EncryptionAlgorithm: algorithm}))
	if string(opened.Plaintext) != "secret" || opened.EncryptionAlgorithm != algorithm || opened.KeyMaterialId != nil {
		t.Errorf("Decrypt with RSA: %+v", opened)
	}
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionAlgorithm: algorithm})
	if got := code(err); got != codeValidation {
		t.Errorf("Decrypt with RSA and no KeyId: %q", got)
	}

	authenticating := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecHmac256, KeyUsage: types.KeyUsageTypeGenerateVerifyMac})
	mac := must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: &authenticating, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256}))
	same := must[*kms.VerifyMacOutput](t)(c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: &authenticating, Message: []byte("m"), Mac: mac.Mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha256}))
	if !same.MacValid {
		t.Error("VerifyMac: not valid")
	}
	_, err = c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: &authenticating, Message: []byte("n"), Mac: mac.Mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	if got := code(err); got != "KMSInvalidMacException" {
		t.Errorf("VerifyMac of another message: %q", got)
	}
}

func TestAliases(t *testing.T) {
	e := newEnv(t)
	c := e.client(e.root)
	first, second := e.key(t, nil), e.key(t, nil)
	for _, name := range []string{"alias/a", "alias/b", "alias/c"} {
		must[*kms.CreateAliasOutput](t)(c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &first}))
	}
	must[*kms.UpdateAliasOutput](t)(c.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/b"), TargetKeyId: &second}))
	must[*kms.DeleteAliasOutput](t)(c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/c")}))
	got := map[string]string{}
	pages := kms.NewListAliasesPaginator(c, &kms.ListAliasesInput{Limit: aws.Int32(1)})
	for pages.HasMorePages() {
		page := must[*kms.ListAliasesOutput](t)(pages.NextPage(ctx))
		if len(page.Aliases) != 1 {
			t.Errorf("a page of %d aliases", len(page.Aliases))
		}
		for _, a := range page.Aliases {
			got[*a.AliasName] = *a.TargetKeyId
		}
	}
	want := map[string]string{"alias/a": first[len(first)-36:], "alias/b": second[len(second)-36:]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
	of := must[*kms.ListAliasesOutput](t)(c.ListAliases(ctx, &kms.ListAliasesInput{KeyId: &second}))
	if len(of.Aliases) != 1 || *of.Aliases[0].AliasName != "alias/b" || of.Aliases[0].CreationDate == nil {
		t.Errorf("aliases of the second key: %+v", of.Aliases)
	}
	for _, id := range []string{"alias/b", "arn:aws:kms:us-east-1:111122223333:alias/b"} {
		if d := must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})); *d.KeyMetadata.Arn != second {
			t.Errorf("%s is %s", id, *d.KeyMetadata.Arn)
		}
	}
}

func TestLifeOfAKey(t *testing.T) {
	e := newEnv(t)
	c := e.client(e.root)
	id := e.keyOf(t, &kms.CreateKeyInput{Description: aws.String("first"), Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("1")}}})
	describe := func() *types.KeyMetadata {
		t.Helper()
		return must[*kms.DescribeKeyOutput](t)(c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})).KeyMetadata
	}
	encrypt := func() string {
		t.Helper()
		_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
		return code(err)
	}
	m := describe()
	if !m.Enabled || m.KeyState != types.KeyStateEnabled || *m.Description != "first" || m.CreationDate == nil ||
		m.KeyManager != types.KeyManagerTypeCustomer || m.Origin != types.OriginTypeAwsKms || *m.AWSAccountId != testAccount {
		t.Errorf("a new key: %+v", m)
	}
	must[*kms.UpdateKeyDescriptionOutput](t)(c.UpdateKeyDescription(ctx, &kms.UpdateKeyDescriptionInput{KeyId: &id, Description: aws.String("second")}))
	must[*kms.DisableKeyOutput](t)(c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id}))
	if m = describe(); m.Enabled || m.KeyState != types.KeyStateDisabled || *m.Description != "second" {
		t.Errorf("a disabled key: %+v", m)
	}
	if got := encrypt(); got != "DisabledException" {
		t.Errorf("Encrypt with a disabled key: %q", got)
	}
	must[*kms.EnableKeyOutput](t)(c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &id}))
	if got := encrypt(); got != "" {
		t.Errorf("Encrypt after EnableKey: %q", got)
	}

	must[*kms.TagResourceOutput](t)(c.TagResource(ctx, &kms.TagResourceInput{KeyId: &id, Tags: []types.Tag{
		{TagKey: aws.String("b"), TagValue: aws.String("2")}, {TagKey: aws.String("c"), TagValue: aws.String("")}}}))
	must[*kms.UntagResourceOutput](t)(c.UntagResource(ctx, &kms.UntagResourceInput{KeyId: &id, TagKeys: []string{"a"}}))
	tags := map[string]string{}
	pages := kms.NewListResourceTagsPaginator(c, &kms.ListResourceTagsInput{KeyId: &id, Limit: aws.Int32(1)})
	for pages.HasMorePages() {
		for _, tag := range must[*kms.ListResourceTagsOutput](t)(pages.NextPage(ctx)).Tags {
			tags[*tag.TagKey] = *tag.TagValue
		}
	}
	if diff := cmp.Diff(map[string]string{"b": "2", "c": ""}, tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}

	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("old")}))
	must[*kms.EnableKeyRotationOutput](t)(c.EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: aws.Int32(90)}))
	status := must[*kms.GetKeyRotationStatusOutput](t)(c.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &id}))
	if !status.KeyRotationEnabled || *status.RotationPeriodInDays != 90 || status.NextRotationDate == nil {
		t.Errorf("rotation status: %+v", status)
	}
	must[*kms.RotateKeyOnDemandOutput](t)(c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &id}))
	must[*kms.DisableKeyRotationOutput](t)(c.DisableKeyRotation(ctx, &kms.DisableKeyRotationInput{KeyId: &id}))
	var rotations []types.RotationsListEntry
	all := kms.NewListKeyRotationsPaginator(c, &kms.ListKeyRotationsInput{KeyId: &id, Limit: aws.Int32(1), IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})
	for all.HasMorePages() {
		rotations = append(rotations, must[*kms.ListKeyRotationsOutput](t)(all.NextPage(ctx)).Rotations...)
	}
	if len(rotations) != 2 || rotations[0].RotationDate != nil || rotations[1].RotationType != types.RotationTypeOnDemand ||
		rotations[1].KeyMaterialState != types.KeyMaterialStateCurrent || *rotations[1].KeyMaterialId != *describe().CurrentKeyMaterialId {
		t.Errorf("rotations: %+v", rotations)
	}
	if got := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})); string(got.Plaintext) != "old" || *got.KeyMaterialId != *rotations[0].KeyMaterialId {
		t.Errorf("Decrypt after rotation: %+v", got)
	}

	scheduled := must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)}))
	if *scheduled.PendingWindowInDays != 7 || scheduled.KeyState != types.KeyStatePendingDeletion || scheduled.DeletionDate == nil {
		t.Errorf("ScheduleKeyDeletion: %+v", scheduled)
	}
	if got := encrypt(); got != "KMSInvalidStateException" {
		t.Errorf("Encrypt with a key pending deletion: %q", got)
	}
	if d := describe().DeletionDate; d == nil || !d.Equal(*scheduled.DeletionDate) {
		t.Errorf("deletion date: %v", d)
	}
	must[*kms.CancelKeyDeletionOutput](t)(c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &id}))
	if got := describe().KeyState; got != types.KeyStateDisabled {
		t.Errorf("after CancelKeyDeletion: %s", got)
	}
	must[*kms.ScheduleKeyDeletionOutput](t)(c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: aws.Int32(7)}))
	fresh := e.key(t, nil)
	listed := must[*kms.ListKeysOutput](t)(c.ListKeys(ctx, &kms.ListKeysInput{}))
	if len(listed.Keys) != 2 || listed.Truncated {
		t.Errorf("ListKeys: %+v", listed)
	}
	e.clock.Advance(7 * 24 * time.Hour)
	status2, answer, _ := e.post(t, e.root, "DescribeKey", map[string]string{"KeyId": id})
	if status2 != 400 || answer["__type"] != codeNotFound {
		t.Errorf("after the waiting period: %d %v", status2, answer)
	}
	if status2, answer, _ = e.post(t, e.root, "DescribeKey", map[string]string{"KeyId": fresh}); status2 != 200 {
		t.Errorf("the other key: %d %v", status2, answer)
	}
}

func TestKeyPolicies(t *testing.T) {
	e := newEnv(t)
	c := e.client(e.root)
	id := e.key(t, nil)
	got := must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &id}))
	if *got.Policy != defaultPolicy(testAccount) || *got.PolicyName != "default" {
		t.Errorf("default policy: %s", *got.Policy)
	}
	want := policyFor(`{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`)
	must[*kms.PutKeyPolicyOutput](t)(c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &id, Policy: want}))
	if got = must[*kms.GetKeyPolicyOutput](t)(c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &id})); *got.Policy != *want {
		t.Errorf("policy after PutKeyPolicy: %s", *got.Policy)
	}
	if _, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}); code(err) != codeAccessDenied {
		t.Errorf("Encrypt against an explicit deny: %v", err)
	}
	listed := must[*kms.ListKeyPoliciesOutput](t)(c.ListKeyPolicies(ctx, &kms.ListKeyPoliciesInput{KeyId: &id}))
	if diff := cmp.Diff([]string{"default"}, listed.PolicyNames); diff != "" {
		t.Errorf("policy names (-want +got):\n%s", diff)
	}
	grants := must[*kms.ListGrantsOutput](t)(c.ListGrants(ctx, &kms.ListGrantsInput{KeyId: &id}))
	if len(grants.Grants) != 0 || grants.Truncated {
		t.Errorf("grants: %+v", grants)
	}
	lockout := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + testAccount + `"},"Action":"kms:DescribeKey","Resource":"*"}}`
	for _, tt := range []struct {
		name, policy string
		bypass       bool
		want         string
	}{
		{"no JSON", `{`, false, codeMalformedPolicy},
		{"no principal", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`, true, codeMalformedPolicy},
		{"principal that does not exist", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/nobody"},"Action":"kms:*","Resource":"*"}}`, true, codeMalformedPolicy},
		{"lockout", lockout, false, codeMalformedPolicy},
		{"lockout, bypassed", lockout, true, ""},
	} {
		_, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &id, Policy: &tt.policy, BypassPolicyLockoutSafetyCheck: tt.bypass})
		if got := code(err); got != tt.want {
			t.Errorf("PutKeyPolicy, %s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	_, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &id})
	if got := code(err); got != codeAccessDenied {
		t.Errorf("after the lockout: %q", got)
	}
	_, err = c.CreateKey(ctx, &kms.CreateKeyInput{Policy: &lockout})
	if got := code(err); got != codeMalformedPolicy {
		t.Errorf("CreateKey with a lockout: %q", got)
	}
}
