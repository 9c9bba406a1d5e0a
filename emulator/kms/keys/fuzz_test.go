package keys

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Arbitrary ciphertexts and contexts get an exception, or were made here.
func FuzzDecrypt(f *testing.F) {
	r, err := New(Config{Region: testRegion, Account: testAccount, Entropy: &stream{}})
	must(f, err)
	k, rsa := create(f, r, Symmetric, ""), create(f, r, RSA2048, EncryptDecrypt)
	good := got(r.Encrypt(k.ID, "", []byte("p"), map[string]string{"a": "b"}))(f)
	f.Add(good.Blob, "a", "b")
	f.Add(good.Blob[:blobSealedAt+tagSize], "a", "b")
	f.Add([]byte(blobPrefix), "", "")
	f.Add(got(r.Encrypt(rsa.ID, OAEPSHA256, []byte("p"), nil))(f).Blob, "", "")
	f.Add([]byte{}, "", "")
	f.Fuzz(func(t *testing.T, blob []byte, name, value string) {
		context := map[string]string{name: value}
		named, err := r.CiphertextKey(blob)
		exception(t, err)
		p, err := r.Decrypt(k.ID, "", blob, context)
		exception(t, err)
		if err == nil && (named == nil || named.ID != k.ID || string(p.Plaintext) != "p" || name != "a" || value != "b") {
			t.Errorf("decrypted a blob nobody made: %x with %q", blob, context)
		}
		if len(blob) == 256 { // RSA takes a thousand times longer
			_, err = r.Decrypt(rsa.ID, OAEPSHA256, blob, nil)
			exception(t, err)
		}
	})
}

// Whatever a record says, it is an error, or a key that is stored as the same.
func FuzzDecodeEntry(f *testing.F) {
	r, err := New(Config{Region: testRegion, Account: testAccount, Entropy: &stream{}})
	must(f, err)
	for _, s := range specs {
		k := got(r.Create(Description{Spec: s.spec, Usage: s.usage, Tags: map[string]string{"a": "b"}}))(f)
		if s.spec == Symmetric {
			must(f, r.SetRotation(k.ID, true, 90))
			got(r.Rotate(k.ID))(f)
		}
		f.Add(k.ID, got(encodeEntry(got(r.look(k.ID))(f)))(f))
		got(r.ScheduleDeletion(k.ID, 7))(f)
		f.Add(k.ID, got(encodeEntry(got(r.look(k.ID))(f)))(f))
	}
	f.Add("", []byte{0xa0})
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		e, err := decodeEntry(id, value)
		if err != nil {
			return
		}
		again, err := decodeEntry(id, got(encodeEntry(e))(t))
		must(t, err)
		if diff := cmp.Diff(e.key, again.key); diff != "" {
			t.Error(diff)
		}
		e.key.ARN = r.keyARN(id)
		r.publish(change{put: []*entry{e}})
		for _, op := range operations {
			exception(t, op.do(r, id))
		}
		r.publish(change{drop: []string{id}, unname: []string{"alias/new"}})
	})
}

func FuzzDecodeAlias(f *testing.F) {
	f.Add("alias/a", got(encodeAlias(&Alias{KeyID: noSuchKey, Created: t0, Updated: t0}))(f))
	f.Add("alias/aws/a", []byte{0xa0})
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		a, err := decodeAlias(name, value)
		if err != nil {
			return
		}
		if diff := cmp.Diff(a, got(decodeAlias(name, got(encodeAlias(a))(t)))(t)); diff != "" {
			t.Error(diff)
		}
	})
}

// Names and markers that strangers send.
func FuzzNames(f *testing.F) {
	r, err := New(Config{Region: testRegion, Account: testAccount, Entropy: &stream{}})
	must(f, err)
	k := create(f, r, Symmetric, "")
	must(f, r.CreateAlias("alias/a", k.ID))
	for _, s := range []string{k.ID, k.ARN, "alias/a", r.AliasARN("alias/a"), "arn:aws:kms:us-east-1", "YWxpYXMvYQ", "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := r.Get(s)
		exception(t, err)
		_, _, err = r.List(1, s)
		exception(t, err)
		_, _, err = r.ListAliases("", 1, s)
		exception(t, err)
		if err := r.CreateAlias(s, k.ID); err == nil {
			must(t, r.DeleteAlias(s))
		} else {
			exception(t, err)
		}
	})
}

// Public keys and signatures that strangers send.
func FuzzPeer(f *testing.F) {
	r, err := New(Config{Region: testRegion, Account: testAccount, Entropy: &stream{}})
	must(f, err)
	agree, sign, rsa := create(f, r, ECCP256, KeyAgreement), create(f, r, ECCP384, SignVerify), create(f, r, RSA2048, SignVerify)
	f.Add(got(r.PublicKey(agree.ID))(f))
	f.Add(got(r.PublicKey(rsa.ID))(f))
	f.Add(got(r.Sign(sign.ID, ECDSASHA384, Raw, []byte("signed")))(f))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := r.DeriveSharedSecret(agree.ID, ECDH, b)
		exception(t, err)
		for id, a := range map[string]SigningAlgorithm{sign.ID: ECDSASHA384, rsa.ID: PSSSHA256} {
			err := r.Verify(id, a, Raw, []byte("m"), b)
			if err == nil {
				t.Error("verified what nobody signed")
			}
			exception(t, err)
		}
	})
}

// exception fails for errors that are no answer to a caller.
func exception(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Exception == ErrInternal) {
		t.Errorf("error %v", err)
	}
}
