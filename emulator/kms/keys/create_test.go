package keys

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCreateTellsWhatItMade(t *testing.T) {
	r, err := New(Config{Region: "us-gov-west-1", Account: testAccount, Clock: func() time.Time { return t0 }, Entropy: &stream{}})
	must(t, err)
	k, err := r.Create(Description{Description: "weights", Policy: "{}", Tags: map[string]string{"team": "ml"}})
	must(t, err)
	created := t0.Truncate(time.Millisecond)
	want := &Key{
		ID:          k.ID,
		ARN:         "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/" + k.ID,
		Account:     testAccount,
		Spec:        Symmetric,
		Usage:       EncryptDecrypt,
		State:       Enabled,
		Description: "weights",
		Policy:      "{}",
		Tags:        map[string]string{"team": "ml"},
		Created:     created,
		MaterialID:  k.MaterialID,
		Materials:   []Material{{ID: k.MaterialID, Since: created}},
	}
	if diff := cmp.Diff(want, k); diff != "" {
		t.Error(diff)
	}
	if id, err := parseUUID(k.ID); err != nil || id[6]>>4 != 4 || id[8]>>6 != 2 {
		t.Errorf("key id %s is not a UUID of version 4 (%v)", k.ID, err)
	}
	if len(k.MaterialID) != 64 || strings.Trim(k.MaterialID, "0123456789abcdef") != "" {
		t.Errorf("material id %q is not 64 hex digits", k.MaterialID)
	}
}

func TestCreateOfEverySpec(t *testing.T) {
	r, _ := newTestRing(t)
	for _, s := range specs {
		k := got(r.Create(Description{Spec: s.spec, Usage: s.usage}))(t)
		if k.Spec != s.spec || k.Usage != s.usage {
			t.Errorf("asked for %s %s, got %s %s", s.spec, s.usage, k.Spec, k.Usage)
		}
		algorithms := len(k.EncryptionAlgorithms()) + len(k.SigningAlgorithms()) + len(k.MACAlgorithms()) + len(k.AgreementAlgorithms())
		if algorithms == 0 {
			t.Errorf("%s %s has no algorithm", s.spec, s.usage)
		}
		if (k.MaterialID != "") != (s.spec == Symmetric) {
			t.Errorf("%s has material id %q", s.spec, k.MaterialID)
		}
	}
}

func TestRSASizes(t *testing.T) {
	r, _ := newTestRing(t)
	for spec, bytes := range map[Spec]int{RSA3072: 384, RSA4096: 512} {
		k := create(t, r, spec, SignVerify)
		if got := len(got(r.Sign(k.ID, PSSSHA256, Raw, []byte("m")))(t)); got != bytes {
			t.Errorf("signature of %s has %d bytes, want %d", spec, got, bytes)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	tags := make(map[string]string)
	for i := range MaxTags + 1 {
		tags[fmt.Sprint("tag", i)] = ""
	}
	for name, test := range map[string]struct {
		d    Description
		want error
	}{
		"unknown spec":              {Description{Spec: "ECC_SECG_P256K1", Usage: SignVerify}, ErrUnsupported},
		"spec without usage":        {Description{Spec: RSA2048}, ErrValidation},
		"usage of other specs":      {Description{Usage: SignVerify}, ErrValidation},
		"agreement with RSA":        {Description{Spec: RSA2048, Usage: KeyAgreement}, ErrValidation},
		"encryption with ECC":       {Description{Spec: ECCP256, Usage: EncryptDecrypt}, ErrValidation},
		"signing with HMAC":         {Description{Spec: HMAC256, Usage: SignVerify}, ErrValidation},
		"description too long":      {Description{Description: strings.Repeat("ä", MaxDescription+1)}, ErrValidation},
		"longest description":       {Description{Description: strings.Repeat("ä", MaxDescription)}, nil},
		"policy too long":           {Description{Policy: strings.Repeat(" ", MaxPolicy+1)}, ErrLimit},
		"longest policy":            {Description{Policy: strings.Repeat(" ", MaxPolicy)}, nil},
		"too many tags":             {Description{Tags: tags}, ErrLimit},
		"empty tag key":             {Description{Tags: map[string]string{"": "v"}}, ErrTag},
		"tag key too long":          {Description{Tags: map[string]string{strings.Repeat("k", MaxTagKey+1): "v"}}, ErrTag},
		"tag value too long":        {Description{Tags: map[string]string{"k": strings.Repeat("v", MaxTagValue+1)}}, ErrTag},
		"reserved tag":              {Description{Tags: map[string]string{"AWS:x": "v"}}, ErrTag},
		"longest tag key and value": {Description{Tags: map[string]string{strings.Repeat("ä", MaxTagKey): strings.Repeat("ü", MaxTagValue)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newTestRing(t)
			_, err := r.Create(test.d)
			wantErr(t, err, test.want)
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"region":         {Region: "east", Account: testAccount},
		"account":        {Region: testRegion, Account: "1234"},
		"no directory":   {Region: testRegion, Account: testAccount, Path: t.TempDir() + "/none/keys.db"},
		"path of folder": {Region: testRegion, Account: testAccount, Path: t.TempDir()},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Keys of curves come from the entropy that the ring was given; the same entropy
// makes the same ring.
func TestSameEntropySameKeys(t *testing.T) {
	var public [2][]byte
	var ids [2]string
	for i := range public {
		r, err := New(Config{Region: testRegion, Account: testAccount, Entropy: &stream{seed: 7}})
		must(t, err)
		k := create(t, r, ECCP521, KeyAgreement)
		ids[i], public[i] = k.ID, got(r.PublicKey(k.ID))(t)
	}
	if ids[0] != ids[1] || !bytes.Equal(public[0], public[1]) {
		t.Errorf("keys %s and %s differ", ids[0], ids[1])
	}
}

func TestBrokenEntropy(t *testing.T) {
	for name, test := range map[string]struct {
		entropy []byte
		spec    Spec
		usage   Usage
	}{
		"ends before the id":       {make([]byte, 15), Symmetric, ""},
		"ends before the material": {make([]byte, 40), Symmetric, ""},
		"gives zeros only":         {make([]byte, 10000), ECCP384, SignVerify},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := New(Config{Region: testRegion, Account: testAccount, Entropy: bytes.NewReader(test.entropy)})
			must(t, err)
			_, err = r.Create(Description{Spec: test.spec, Usage: test.usage})
			wantErr(t, err, ErrInternal)
			if len(got2(r.List(0, "")).page) != 0 {
				t.Error("there is a key")
			}
		})
	}
	t.Run("repeats itself", func(t *testing.T) {
		r, err := New(Config{Region: testRegion, Account: testAccount, Entropy: bytes.NewReader(make([]byte, 10000))})
		must(t, err)
		create(t, r, Symmetric, "")
		_, err = r.Create(Description{})
		wantErr(t, err, ErrInternal)
	})
}

func TestQuotaOfKeys(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	e := got(r.look(k.ID))(t)
	for i := range MaxKeys - 1 {
		filler := *e.key
		filler.ID = fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		r.publish(change{put: []*entry{{key: &filler, materials: e.materials}}})
	}
	_, err := r.Create(Description{})
	wantErr(t, err, ErrLimit)
}
