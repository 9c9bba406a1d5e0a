package keys

import (
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// Each record breaks one rule that holds for keys that are made.
func TestDecodeEntryRefuses(t *testing.T) {
	r, _ := newTestRing(t)
	record := func(spec Spec, usage Usage) keyRecord {
		var out keyRecord
		must(t, strict.Unmarshal(got(encodeEntry(got(r.look(create(t, r, spec, usage).ID))(t)))(t), &out))
		return out
	}
	symmetric, ecc, rsa, mac := record(Symmetric, ""), record(ECCP256, SignVerify), record(RSA2048, SignVerify), record(HMAC256, GenerateVerifyMAC)
	for name, test := range map[string]struct {
		from   keyRecord
		change func(*keyRecord)
		want   string // in the error; empty means none
	}{
		"as it was":           {symmetric, func(*keyRecord) {}, ""},
		"no spec":             {symmetric, func(k *keyRecord) { k.Spec = "" }, "KeySpec or KeyUsage is missing"},
		"no usage":            {symmetric, func(k *keyRecord) { k.Usage = "" }, "KeySpec or KeyUsage is missing"},
		"unknown spec":        {symmetric, func(k *keyRecord) { k.Spec = "SM2" }, "KeySpec"},
		"usage":               {symmetric, func(k *keyRecord) { k.Usage = SignVerify }, "KeyUsage"},
		"state":               {symmetric, func(k *keyRecord) { k.State = "Creating" }, "KeyState"},
		"description":         {symmetric, func(k *keyRecord) { k.Description = strings.Repeat("d", MaxDescription+1) }, "Description"},
		"policy":              {symmetric, func(k *keyRecord) { k.Policy = strings.Repeat("p", MaxPolicy+1) }, "Policy"},
		"tag":                 {symmetric, func(k *keyRecord) { k.Tags = map[string]string{"": ""} }, "TagKey"},
		"no material":         {symmetric, func(k *keyRecord) { k.Materials = nil }, "0 materials"},
		"two of ECC":          {ecc, func(k *keyRecord) { k.Materials = append(k.Materials, k.Materials[0]) }, "2 materials"},
		"short period":        {symmetric, func(k *keyRecord) { k.RotationPeriod = 1 }, "rotation period"},
		"negative period":     {symmetric, func(k *keyRecord) { k.RotationPeriod = -90 }, "rotation period"},
		"long period":         {symmetric, func(k *keyRecord) { k.RotationPeriod = 1 << 40 }, "rotation period"},
		"rotation of ECC":     {ecc, func(k *keyRecord) { k.RotationPeriod = 90 }, "rotation schedule"},
		"rotation type":       {symmetric, func(k *keyRecord) { k.Materials[0].Type = "OTHER" }, "type of a rotation"},
		"material id":         {symmetric, func(k *keyRecord) { k.Materials[0].ID = make([]byte, 31) }, "id of a material"},
		"secret too short":    {symmetric, func(k *keyRecord) { k.Materials[0].Secret = make([]byte, 31) }, "31 bytes"},
		"secret of HMAC":      {mac, func(k *keyRecord) { k.Materials[0].Secret = make([]byte, 48) }, "48 bytes"},
		"no PKCS #8":          {ecc, func(k *keyRecord) { k.Materials[0].Secret = make([]byte, 32) }, "PKCS #8"},
		"another curve":       {ecc, func(k *keyRecord) { k.Spec = ECCP384 }, "not of KeySpec"},
		"another size":        {rsa, func(k *keyRecord) { k.Spec = RSA4096 }, "not of KeySpec"},
		"RSA for ECC":         {rsa, func(k *keyRecord) { k.Spec = ECCP256 }, "not of KeySpec"},
		"ECC for RSA":         {ecc, func(k *keyRecord) { k.Spec = RSA2048 }, "not of KeySpec"},
		"symmetric as an ECC": {symmetric, func(k *keyRecord) { k.Spec, k.Usage = ECCP256, SignVerify }, "PKCS #8"},
	} {
		t.Run(name, func(t *testing.T) {
			k := test.from
			k.Materials = append([]materialRecord(nil), k.Materials...)
			test.change(&k)
			_, err := decodeEntry(noSuchKey, got(cbor.Marshal(k))(t))
			if test.want == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	good := got(cbor.Marshal(symmetric))(t)
	for name, value := range map[string][]byte{
		"trailing byte":  append(append([]byte(nil), good...), 0),
		"truncated":      good[:len(good)-1],
		"unknown member": {0xa1, 0x18, 0x63, 0x00},
		"member twice":   {0xa2, 0x01, 0x61, 'x', 0x01, 0x61, 'y'},
		"indefinite":     {0xbf, 0xff},
	} {
		if _, err := decodeEntry(noSuchKey, value); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := decodeEntry(strings.ToUpper(noSuchKey), good); err == nil {
		t.Error("id in capitals: no error")
	}
}
