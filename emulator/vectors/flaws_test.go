package vectors

import (
	"crypto/ecdh"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"slices"
	"testing"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// TestFlawsAlone: where crypto/x509 is lenient, it finds nothing else wrong with
// the chain: each certificate has the one flaw its case is about.
func TestFlawsAlone(t *testing.T) {
	c := newCorpus(t)
	lenient := []string{
		"A21-key-p256-", "A21-key-p521-", "A21-key-p224-", "A21-key-rsa-", "A21-key-ed25519-",
		"A21-sha256-r", "A21-sha256-z", "A21-sha256-i", "A21-sha256-l", "A21-sha512-",
		"A21-algorithm-null-", "A21-tail-inside-", "A21-signed-tail-", "A21-time-without-seconds-", "A21-time-with-offset-",
		"A21-constraints-not-critical-", "A21-constraints-tail-", "A21-usage-tail-", "A21-usage-not-minimal-",
		"A21-no-key-usage-", "A21-no-digital-signature-", "A21-key-agreement-alone-", "A21-path-length-without-ca-leaf",
		"A21-generalized-time-", "A21-unique-ids-", "A21-subject-empty-", "A21-other-authority-key-", "A15-twin-of-",
		"A18-", "A22-nonce-1025", "A22-user-data-1025", "A14-regional-ends-before-leaf",
	}
	seen := map[string]int{}
	for _, of := range c.Cases {
		i := slices.IndexFunc(lenient, func(prefix string) bool { return len(of.ID) >= len(prefix) && of.ID[:len(prefix)] == prefix })
		if i < 0 {
			continue
		}
		doc, err := attestation.Parse(c.Bytes(of))
		if err != nil {
			if lenient[i] == "A18-" {
				continue // those that are no timestamps
			}
			t.Fatalf("%s: %v", of.ID, err)
		}
		seen[lenient[i]]++
		roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
		for _, text := range c.RootPEMs(of) {
			roots.AppendCertsFromPEM(text)
		}
		for _, der := range doc.CABundle {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatalf("%s: %v", of.ID, err)
			}
			intermediates.AddCert(cert)
		}
		leaf, err := x509.ParseCertificate(doc.Certificate)
		if err != nil {
			t.Fatalf("%s: %v", of.ID, err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: intermediates, CurrentTime: of.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		}); err != nil {
			t.Errorf("%s: %v", of.ID, err)
		}
	}
	for _, prefix := range lenient {
		if seen[prefix] == 0 {
			t.Errorf("no case %s", prefix)
		}
	}
}

// TestGeneratorSignature: the signatures of CVE-2020-0601 do verify, on a curve
// whose generator is the public key. R is (e/s + r/s) times that key, whose x an
// ECDH exchange gives.
func TestGeneratorSignature(t *testing.T) {
	k := newKeyring(testSeed)
	victim := k.p384("victim")
	message := []byte("message")
	r, s := splitDER(k.signWithGenerator(victim, message))
	n := p384.Params().N
	digest := sha512.Sum384(message)
	u := new(big.Int).SetBytes(digest[:])
	u.Add(u, r)
	u.Mul(u, new(big.Int).ModInverse(s, n))
	u.Mod(u, n)
	scalar, err := ecdh.P384().NewPrivateKey(u.FillBytes(make([]byte, 48)))
	if err != nil {
		t.Fatal(err)
	}
	public, err := victim.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	x, err := scalar.ECDH(public)
	if err != nil {
		t.Fatal(err)
	}
	if new(big.Int).Mod(new(big.Int).SetBytes(x), n).Cmp(r) != 0 {
		t.Error("the signature does not verify")
	}
}

// TestHex: nil, empty and a value are three things in JSON too.
func TestHex(t *testing.T) {
	for _, tt := range []struct {
		nonce Hex
		want  string
	}{
		{nil, `{"pcrs":null}`},
		{Hex{}, `{"pcrs":null,"nonce":""}`},
		{Hex{0x0a, 0xff}, `{"pcrs":null,"nonce":"0aff"}`},
	} {
		type part struct {
			PCRs  map[uint]Hex `json:"pcrs"`
			Nonce Hex          `json:"nonce,omitzero"`
		}
		got, err := json.Marshal(part{Nonce: tt.nonce})
		if err != nil || string(got) != tt.want {
			t.Errorf("%#v: %s, %v", tt.nonce, got, err)
		}
		var back part
		if err := json.Unmarshal(got, &back); err != nil || (back.Nonce == nil) != (tt.nonce == nil) || !slices.Equal(back.Nonce, tt.nonce) {
			t.Errorf("%s: %#v, %v", got, back.Nonce, err)
		}
	}
	var h Hex
	if err := h.UnmarshalText([]byte("0")); err == nil {
		t.Error("half a byte was taken")
	}
}
