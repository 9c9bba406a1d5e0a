package attestation

import (
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLongChain: the path length of the root is not limited, so one more level
// is legal above a regional certificate, and not below.
func TestLongChain(t *testing.T) {
	f := newForgery(t)
	subject, err := marshalName(nameSets[NamesEmulated].rootSubject("between"))
	if err != nil {
		t.Fatal(err)
	}
	between, err := template{
		subject: subject, serial: big.NewInt(77).Bytes(), notBefore: f.regional.cert.NotBefore, notAfter: f.regional.cert.NotAfter,
		extensions: []pkix.Extension{basicConstraints(true, 3), keyUsage(true, usageCA)},
	}.issue(newKey(t, p384), f.root)
	if err != nil {
		t.Fatal(err)
	}
	regional := f.rekey(f.regional, f.regional.key, between)
	// The old certificate names the root's key; this one names none.
	regional = f.reissue(regional, without(oidAuthorityKeyID))
	f.bundle = [][]byte{f.root.cert.Raw, between.cert.Raw, regional.cert.Raw, f.zonal.cert.Raw, f.instance.cert.Raw}
	r, err := Verify(f.bytes(), policy(f.root.cert))
	if err != nil || len(r.Chain) != 6 {
		t.Errorf("one level more above: %v", err)
	}

	between, err = template{
		subject: subject, serial: big.NewInt(78).Bytes(), notBefore: f.instance.cert.NotBefore, notAfter: f.instance.cert.NotAfter,
		extensions: []pkix.Extension{basicConstraints(true, noPathLen), keyUsage(true, usageCA)},
	}.issue(newKey(t, p384), f.instance)
	if err != nil {
		t.Fatal(err)
	}
	f.leaf = f.rekey(f.leaf, f.leaf.key, between)
	f.bundle = append([][]byte{f.root.cert.Raw, f.regional.cert.Raw, f.zonal.cert.Raw, f.instance.cert.Raw}, between.cert.Raw)
	r, err = Verify(f.bytes(), policy(f.root.cert))
	if diff := cmp.Diff(onlyChain, failures(r)); diff != "" || !errors.Is(err, ErrChain) {
		t.Errorf("one level more below: error %v, failed checks (-want +got):\n%s", err, diff)
	}
	if c := check(t, r, CheckChain); !strings.Contains(c.Detail, "has path length 0, but 1 CAs are below it") {
		t.Errorf("detail %q", c.Detail)
	}
}
