package attestation

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rawCertificate is RFC 5280 section 4.1 as far as crypto/x509 does not show
// it: string types, order of names and extensions, criticality.
type rawCertificate struct {
	TBS struct {
		Version    int `asn1:"explicit,tag:0"`
		Serial     *big.Int
		Algorithm  asn1.RawValue
		Issuer     []rawSET
		Validity   struct{ NotBefore, NotAfter asn1.RawValue }
		Subject    []rawSET
		PublicKey  asn1.RawValue
		Extensions []rawExtension `asn1:"explicit,tag:3"`
	}
	Algorithm asn1.RawValue
	Signature asn1.BitString
}

// A rawSET is one RDN; encoding/asn1 knows sets by the end of the type's name.
type rawSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type rawExtension struct {
	ID       asn1.ObjectIdentifier
	Critical bool `asn1:"optional"`
	Value    []byte
}

func decodeRaw(t *testing.T, der []byte) rawCertificate {
	t.Helper()
	var c rawCertificate
	if rest, err := asn1.Unmarshal(der, &c); err != nil || len(rest) != 0 {
		t.Fatalf("decode certificate: %v, %d bytes left", err, len(rest))
	}
	return c
}

// rdns gives "C printable US", "CN utf8 ..." and so on, in wire order.
func rdns(t *testing.T, name []rawSET) []string {
	t.Helper()
	types := map[string]string{
		"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU",
	}
	tags := map[int]string{asn1.TagPrintableString: "printable", asn1.TagUTF8String: "utf8"}
	var out []string
	for _, set := range name {
		if len(set) != 1 {
			t.Fatalf("an RDN has %d attributes, want 1", len(set))
		}
		out = append(out, fmt.Sprintf("%s %s %s", types[set[0].Type.String()], tags[set[0].Value.Tag], set[0].Value.Bytes))
	}
	return out
}

// certificates of a fresh document, root first and leaf last.
func certificates(t *testing.T, names Names) [][]byte {
	t.Helper()
	raw := newTestDocument(t, newTestIssuer(t, newTestAuthority(t, Config{Names: names})), Claims{PCRs: productionPCRs()})
	doc, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return append(append([][]byte{}, doc.CABundle...), doc.Certificate)
}

var hexNames = regexp.MustCompile(`^(CN utf8 )[0-9a-f]{16}\.`)

// TestSubjects: order, string type and content of every name, under both name
// sets. Issuer and subject of neighbours are the same bytes.
func TestSubjects(t *testing.T) {
	for _, names := range []struct {
		names                  Names
		root, suffix, o, ou, s string
	}{
		{NamesAWS, "aws.nitro-enclaves", "aws.nitro-enclaves", "Amazon", "AWS", "AWS"},
		{NamesEmulated, "nitrolab-emulated.nitro-enclaves", "nitrolab-emulated", "nitrolab emulated, not AWS", "emulated", "emulated"},
	} {
		t.Run(names.s, func(t *testing.T) {
			o, ou := "O utf8 "+names.o, "OU utf8 "+names.ou
			want := [][]string{
				{"C printable US", o, ou, "CN utf8 " + names.root},
				{"C printable US", o, ou, "CN utf8 X.us-east-1." + names.suffix},
				{"CN utf8 X.zonal.us-east-1." + names.suffix, ou, o, "C printable US", "ST utf8 WA", "L utf8 Seattle"},
				{"C printable US", "ST utf8 Washington", "L utf8 Seattle", o, ou, "CN utf8 i-0a1b2c3d4e5f60718.us-east-1." + names.suffix},
				{"C printable US", "ST utf8 Washington", "L utf8 Seattle", o, ou, "CN utf8 i-0a1b2c3d4e5f60718-enc0199abcdef012345.us-east-1.aws"},
			}
			var got [][]string
			var above []string
			for _, der := range certificates(t, names.names) {
				raw := decodeRaw(t, der)
				subject := rdns(t, raw.TBS.Subject)
				if above == nil {
					above = subject // the root issued itself
				}
				if diff := cmp.Diff(above, rdns(t, raw.TBS.Issuer)); diff != "" {
					t.Errorf("issuer (-want +got):\n%s", diff)
				}
				above = append([]string{}, subject...)
				for i := range subject {
					subject[i] = hexNames.ReplaceAllString(subject[i], "${1}X.")
				}
				got = append(got, subject)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("subjects (-want +got):\n%s", diff)
			}
			if names.names == NamesEmulated {
				for i, s := range got[:4] {
					if strings.Contains(strings.Join(s, " "), "Amazon") || !strings.Contains(strings.Join(s, " "), "not AWS") {
						t.Errorf("certificate %d could be taken for AWS's: %q", i, s)
					}
				}
			}
		})
	}
}

// TestExtensions: which, in which order, critical or not, with which value.
// Dumps of genuine certificates of 2025 say the same, value for value.
func TestExtensions(t *testing.T) {
	ders := certificates(t, NamesAWS)
	var ids [][]byte // key identifiers
	var certs []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		point := c.RawSubjectPublicKeyInfo[len(c.RawSubjectPublicKeyInfo)-97:]
		if point[0] != 4 {
			t.Fatalf("public key of %v is not an uncompressed P-384 point", c.Subject)
		}
		id := sha1.Sum(point)
		ids, certs = append(ids, id[:]), append(certs, c)
	}
	aki := func(i int) string { return "2.5.29.35  30168014" + hex.EncodeToString(ids[i]) }
	ski := func(i int) string { return "2.5.29.14  0414" + hex.EncodeToString(ids[i]) }
	crl := func(c *x509.Certificate) string {
		url := hex.EncodeToString([]byte(c.CRLDistributionPoints[0]))
		n := len(c.CRLDistributionPoints[0])
		return fmt.Sprintf("2.5.29.31  30%02x30%02xa0%02xa0%02x86%02x%s", n+8, n+6, n+4, n+2, n, url)
	}
	want := [][]string{
		{"2.5.29.19 critical 30030101ff", ski(0), "2.5.29.15 critical 03020186"},
		{"2.5.29.19 critical 30060101ff020102", aki(0), ski(1), "2.5.29.15 critical 03020186", crl(certs[1])},
		{"2.5.29.19 critical 30060101ff020101", aki(1), ski(2), "2.5.29.15 critical 03020186", crl(certs[2])},
		{"2.5.29.19 critical 30060101ff020100", "2.5.29.15 critical 03020204", ski(3), aki(2)},
		{"2.5.29.19 critical 3000", "2.5.29.15  030206c0"},
	}
	var got [][]string
	for _, der := range ders {
		var list []string
		for _, e := range decodeRaw(t, der).TBS.Extensions {
			critical := ""
			if e.Critical {
				critical = "critical"
			}
			list = append(list, fmt.Sprintf("%v %s %x", e.ID, critical, e.Value))
		}
		got = append(got, list)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
}

const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`

func TestRevocationLists(t *testing.T) {
	for _, tt := range []struct {
		names           Names
		regional, zonal string
	}{
		{NamesAWS, `^http://aws-nitro-enclaves-crl\.s3\.amazonaws\.com/crl/` + uuid + `\.crl$`,
			`^http://crl-us-east-1-aws-nitro-enclaves\.s3\.us-east-1\.amazonaws\.com/crl/` + uuid + `\.crl$`},
		{NamesEmulated, `^http://crl\.nitrolab-emulated\.invalid/crl/` + uuid + `\.crl$`,
			`^http://crl-us-east-1\.nitrolab-emulated\.invalid/crl/` + uuid + `\.crl$`},
	} {
		t.Run(tt.names.String(), func(t *testing.T) {
			ders := certificates(t, tt.names)
			for i, pattern := range map[int]string{1: tt.regional, 2: tt.zonal} {
				c, err := x509.ParseCertificate(ders[i])
				if err != nil {
					t.Fatal(err)
				}
				if urls := c.CRLDistributionPoints; len(urls) != 1 || !regexp.MustCompile(pattern).MatchString(urls[0]) {
					t.Errorf("certificate %d: lists %q, want one like %s", i, urls, pattern)
				}
			}
		})
	}
}

// TestSerialsAndValidity: version, algorithm, serial numbers, lifetimes, and
// times as UTCTime.
func TestSerialsAndValidity(t *testing.T) {
	issued := t0.Truncate(time.Second)
	const ecdsaSHA384 = "300a06082a8648ce3d040303"
	type shape struct {
		Version                   int
		SerialBytes               int
		Algorithm                 string
		NotBeforeTag, NotAfterTag int
		NotBefore, NotAfter       time.Time
	}
	var got []shape
	ders := certificates(t, NamesEmulated)
	for _, der := range ders {
		raw := decodeRaw(t, der)
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := hex.EncodeToString(raw.TBS.Algorithm.FullBytes), hex.EncodeToString(raw.Algorithm.FullBytes); a != b {
			t.Errorf("algorithm inside %s, outside %s", a, b)
		}
		got = append(got, shape{
			raw.TBS.Version + 1, len(raw.TBS.Serial.Bytes()), hex.EncodeToString(raw.Algorithm.FullBytes),
			raw.TBS.Validity.NotBefore.Tag, raw.TBS.Validity.NotAfter.Tag, c.NotBefore, c.NotAfter,
		})
	}
	hour := issued.Add(-time.Hour)
	utc := asn1.TagUTCTime
	want := []shape{
		{3, 16, ecdsaSHA384, utc, utc, rootNotBefore, rootNotAfter},
		{3, 16, ecdsaSHA384, utc, utc, hour, hour.Add(481 * time.Hour)},
		{3, 16, ecdsaSHA384, utc, utc, hour, got[2].NotAfter}, // below
		{3, 20, ecdsaSHA384, utc, utc, hour, hour.Add(24 * time.Hour)},
		{3, 16, ecdsaSHA384, utc, utc, issued.Add(-3 * time.Second), issued.Add(3 * time.Hour)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("certificates (-want +got):\n%s", diff)
	}
	zonal := got[2].NotAfter.Sub(got[2].NotBefore)
	if zonal < 134*time.Hour || zonal > 144*time.Hour || zonal%time.Hour != 0 {
		t.Errorf("zonal certificate is valid for %v, want whole hours from 134 to 144", zonal)
	}
	wantSerial := fmt.Sprintf("0199abcdef01234500000000%08x", issued.Unix())
	if got := fmt.Sprintf("%032x", decodeRaw(t, ders[4]).TBS.Serial); got != wantSerial {
		t.Errorf("serial of the leaf is %s, want %s", got, wantSerial)
	}
}

// TestCertificateSizes: with AWS's names the sizes are those measured, give or
// take the leading zeros that r and s of a signature may have or lack; with
// ours they stay well below the 1024 bytes that AWS allows.
func TestCertificateSizes(t *testing.T) {
	measured := []struct {
		name     string
		min, max int
	}{
		{"root", 530, 536}, {"regional", 704, 709}, {"zonal", 789, 795}, {"instance", 702, 709}, {"leaf", 636, 641},
	}
	for i, der := range certificates(t, NamesAWS) {
		if m := measured[i]; len(der) < m.min || len(der) > m.max {
			t.Errorf("%s certificate has %d bytes, want %d to %d", m.name, len(der), m.min, m.max)
		}
	}
	for i, der := range certificates(t, NamesEmulated) {
		if m := measured[i]; len(der) > m.max+100 {
			t.Errorf("%s certificate has %d bytes with emulated names, want at most %d", m.name, len(der), m.max+100)
		}
	}
}
