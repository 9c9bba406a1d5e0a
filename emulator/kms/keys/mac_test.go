package keys

import (
	"encoding/hex"
	"testing"
)

// The vectors of RFC 4231 section 4.2 with its key, put in place of a key of the ring:
// padded with zeros to the length that the ring's keys have, which HMAC does to every
// key shorter than a block.
func TestMACVectors(t *testing.T) {
	for spec, test := range map[Spec]struct {
		a    MACAlgorithm
		want string
	}{
		HMAC224: {HMACSHA224, "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22"},
		HMAC256: {HMACSHA256, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		HMAC384: {HMACSHA384, "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"},
		HMAC512: {HMACSHA512, "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
	} {
		r, _ := newTestRing(t)
		k := create(t, r, spec, GenerateVerifyMAC)
		secret := make([]byte, spec.secretSize())
		for i := range 20 {
			secret[i] = 0x0b
		}
		r.publish(change{put: []*entry{{key: k, materials: []*material{{private: hide(private{secret: secret})}}}}})
		mac := got(r.GenerateMAC(k.ID, test.a, []byte("Hi There")))(t)
		if hex.EncodeToString(mac) != test.want {
			t.Errorf("%s: %x, want %s", test.a, mac, test.want)
		}
	}
}

func TestVerifyMAC(t *testing.T) {
	r, _ := newTestRing(t)
	k, other := create(t, r, HMAC256, GenerateVerifyMAC), create(t, r, HMAC256, GenerateVerifyMAC)
	mac := got(r.GenerateMAC(k.ID, HMACSHA256, []byte("m")))(t)
	must(t, r.VerifyMAC(k.ID, HMACSHA256, []byte("m"), mac))
	changed := append([]byte{mac[0] ^ 1}, mac[1:]...)
	for _, test := range []struct {
		name string
		id   string
		a    MACAlgorithm
		m    []byte
		mac  []byte
		want error
	}{
		{"changed", k.ID, HMACSHA256, []byte("m"), changed, ErrInvalidMAC},
		{"truncated", k.ID, HMACSHA256, []byte("m"), mac[:16], ErrInvalidMAC},
		{"empty", k.ID, HMACSHA256, []byte("m"), nil, ErrInvalidMAC},
		{"another message", k.ID, HMACSHA256, []byte("n"), mac, ErrInvalidMAC},
		{"another key", other.ID, HMACSHA256, []byte("m"), mac, ErrInvalidMAC},
		{"another algorithm", k.ID, HMACSHA512, []byte("m"), mac, ErrInvalidUsage},
		{"no message", k.ID, HMACSHA256, nil, mac, ErrValidation},
		{"message too long", k.ID, HMACSHA256, make([]byte, MaxPlaintext+1), mac, ErrValidation},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantErr(t, r.VerifyMAC(test.id, test.a, test.m, test.mac), test.want)
		})
	}
}
