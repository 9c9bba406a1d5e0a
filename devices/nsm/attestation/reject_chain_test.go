package attestation

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

var onlyChain = []string{CheckChain}

// TestRejectAnchor: A1, A2, A23, and other ways to bring one's own trust along.
func TestRejectAnchor(t *testing.T) {
	other := func(names Names) *link {
		a := newTestAuthority(t, Config{Entropy: entropy(7), Names: names})
		return a.root
	}
	testRejections(t, []rejection{
		{
			// The whole chain verifies; its root is not the pinned one.
			name:   "A23 emulated document, AWS-like root pinned",
			demand: func(o *Options) { o.Roots = []*x509.Certificate{other(NamesAWS).cert} },
			want:   onlyChain, is: ErrChain, says: `root certificate "nitrolab-emulated.nitro-enclaves" (SHA-256 `,
		},
		{
			name:   "A1 root with the pinned root's name and another key",
			demand: func(o *Options) { o.Roots = []*x509.Certificate{other(NamesEmulated).cert} },
			want:   onlyChain, is: ErrChain, says: "is not pinned: it has the name of a pinned root",
		},
		{
			name:  "A1 pinned root put before a chain of another",
			forge: func(f *forgery) { f.regional = f.rekey(f.regional, f.regional.key, other(NamesEmulated)) },
			want:  onlyChain, is: ErrChain, says: "regional certificate",
		},
		{
			name: "A1 pinned root's key in another certificate",
			forge: func(f *forgery) {
				f.root = f.reissue(f.root, func(tmpl *template) { tmpl.serial = []byte{1} })
			},
			want: onlyChain, is: ErrChain, says: "it has the name of a pinned root, but it is another certificate",
		},
		{
			name: "A2 root last",
			forge: func(f *forgery) {
				c := f.chain()
				f.bundle = [][]byte{c[3], c[2], c[1], c[0]}
			},
			want: onlyChain, is: ErrChain, says: "the pinned root is elsewhere in cabundle, and it must come first",
		},
		{
			name: "A2 order of two swapped",
			forge: func(f *forgery) {
				c := f.chain()
				f.bundle = [][]byte{c[0], c[2], c[1], c[3]}
			},
			want: onlyChain, is: ErrChain, says: "has path length 1, but 2 CAs are below it",
		},
		{
			name:  "A2 no root in the bundle",
			forge: func(f *forgery) { f.bundle = f.chain()[1:] },
			want:  onlyChain, is: ErrChain, says: "is not pinned",
		},
		{
			name:  "A2 no zonal certificate",
			forge: func(f *forgery) { c := f.chain(); f.bundle = [][]byte{c[0], c[1], c[3]} },
			want:  onlyChain, is: ErrChain, says: "issuing certificate 1 \"i-0a1b2c3d4e5f60718.us-east-1.nitrolab-emulated\" was issued by",
		},
		{
			name:  "A2 root alone",
			forge: func(f *forgery) { f.bundle = f.chain()[:1] },
			want:  onlyChain, is: ErrChain, says: "leaf certificate",
		},
		{
			name:  "A2 zonal certificate twice",
			forge: func(f *forgery) { c := f.chain(); f.bundle = [][]byte{c[0], c[1], c[2], c[2], c[3]} },
			want:  onlyChain, is: ErrChain, says: "issuing certificate",
		},
		{
			name:  "A2 root twice",
			forge: func(f *forgery) { c := f.chain(); f.bundle = append([][]byte{c[0]}, c...) },
			want:  onlyChain, is: ErrChain, says: "is self-issued, but not the root",
		},
		{
			name:  "A2 a stray certificate",
			forge: func(f *forgery) { f.bundle = append(f.chain(), other(NamesAWS).cert.Raw) },
			want:  onlyChain, is: ErrChain, says: "issuing certificate 1 \"aws.nitro-enclaves\" is self-issued",
		},
		{
			name:  "pinned root is the leaf",
			forge: func(f *forgery) { f.leaf = f.root },
			want:  onlyChain, is: ErrChain, says: "is a CA",
		},
		{
			name: "leaf of another instance's certificate",
			forge: func(f *forgery) {
				f.leaf = f.rekey(f.leaf, f.leaf.key, &link{cert: f.instance.cert, key: newKey(f.t, p384)})
			},
			want: onlyChain, is: ErrChain, says: "does not verify under the key of",
		},
	})
}

// TestRejectCertificates is A21.
func TestRejectCertificates(t *testing.T) {
	instance := func(change func(*template)) func(*forgery) {
		return func(f *forgery) { f.instance = f.reissue(f.instance, change) }
	}
	zonal := func(change func(*template)) func(*forgery) {
		return func(f *forgery) { f.zonal = f.reissue(f.zonal, change) }
	}
	leafCert := func(change func(*template)) func(*forgery) {
		return func(f *forgery) { f.leaf = f.reissue(f.leaf, change) }
	}
	constraints := func(der ...byte) func(*template) {
		return replace(pkix.Extension{Id: oidBasicConstraints, Critical: true, Value: der})
	}
	usages := func(der ...byte) func(*template) {
		return replace(pkix.Extension{Id: oidKeyUsage, Critical: true, Value: der})
	}
	unreadable := func(name string, change func(*forgery), says string) rejection {
		return rejection{name: name, forge: change, want: onlyChain, is: ErrChain, says: says}
	}
	nameConstraints := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Value: mustHex(t, "300ea00c300a82082e696e76616c6964")}
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}
	criticalCRL := func(tmpl *template) {
		for i := range tmpl.extensions {
			if tmpl.extensions[i].Id.Equal(oidCRLPoints) {
				tmpl.extensions[i].Critical = true
			}
		}
	}

	cases := []rejection{
		{name: "CA:false instance", forge: instance(constraints(0x30, 0x00)), says: "instance certificate \"i-0a1b2c3d4e5f60718.us-east-1.nitrolab-emulated\" is not a CA"},
		{name: "CA with constraints not critical", forge: instance(replace(pkix.Extension{Id: oidBasicConstraints, Value: derBasicConstraints(true, 0)})), says: "has no critical basic constraints"},
		{name: "CA without constraints", forge: instance(without(oidBasicConstraints)), says: "has no critical basic constraints"},
		{name: "zonal with path length 0", forge: zonal(constraints(0x30, 6, 1, 1, 0xff, 2, 1, 0)), says: "has path length 0, but 1 CAs are below it"},
		{name: "negative path length", forge: zonal(constraints(0x30, 6, 1, 1, 0xff, 2, 1, 0xff)), says: "cannot be read"},
		{name: "path length of two bytes", forge: zonal(constraints(0x30, 7, 1, 1, 0xff, 2, 2, 1, 0)), says: "basic constraints that are not DER"},
		{name: "non-canonical BOOLEAN", forge: zonal(constraints(0x30, 6, 1, 1, 0x01, 2, 1, 1)), says: "cannot be read"},
		{name: "explicit FALSE", forge: leafCert(constraints(0x30, 3, 1, 1, 0)), says: "basic constraints that are not DER"},
		{name: "bytes after the path length", forge: zonal(constraints(0x30, 8, 1, 1, 0xff, 2, 1, 1, 5, 0)), says: "basic constraints that are not DER"},
		{name: "bytes after the constraints", forge: zonal(constraints(0x30, 6, 1, 1, 0xff, 2, 1, 1, 5, 0)), says: "basic constraints that are not DER"},
		{name: "long form of a length", forge: zonal(constraints(0x30, 0x81, 6, 1, 1, 0xff, 2, 1, 1)), says: "cannot be read"},
		{name: "leaf is a CA", forge: leafCert(constraints(0x30, 3, 1, 1, 0xff)), says: "is a CA"},
		{name: "leaf is a CA of path length 0", forge: leafCert(constraints(0x30, 6, 1, 1, 0xff, 2, 1, 0)), says: "is a CA"},
		{name: "leaf with a path length", forge: leafCert(constraints(0x30, 3, 2, 1, 0)), says: "leaf certificate \"i-0a1b2c3d4e5f60718-enc0199abcdef012345.us-east-1.aws\" has a path length"},
		{name: "CA without keyCertSign", forge: instance(usages(3, 2, 7, 0x80)), says: "has no keyCertSign"},
		{name: "CA without key usage", forge: zonal(without(oidKeyUsage)), says: "has no key usage"},
		{name: "leaf without digitalSignature", forge: leafCert(usages(3, 2, 6, 0x40)), says: "has no digitalSignature"},
		{name: "leaf without key usage", forge: leafCert(without(oidKeyUsage)), says: "has no key usage"},
		{name: "leaf with keyCertSign", forge: leafCert(usages(3, 2, 2, 0x84)), says: "has keyCertSign"},
		{name: "key usage with zero bits at its end", forge: leafCert(usages(3, 2, 0, 0xc0)), says: "key usage that is not DER"},
		{name: "unknown critical extension in leaf", forge: leafCert(extend(unknown)), says: "has critical extension 1.3.6.1.4.1.99999.1"},
		{name: "unknown critical extension in zonal", forge: zonal(extend(unknown)), says: "has critical extension"},
		{name: "critical revocation list", forge: zonal(criticalCRL), says: "has critical extension 2.5.29.31"},
		{name: "name constraints", forge: zonal(extend(nameConstraints)), says: "has name constraints"},
		{name: "inhibit anyPolicy", forge: zonal(extend(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 54}, Value: []byte{2, 1, 0}})), says: "has inhibit anyPolicy"},
		{name: "policy constraints", forge: zonal(extend(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Value: []byte{0x30, 3, 0x80, 1, 0}})), says: "policy constraints"},
		{name: "extension twice", forge: instance(extend(keyUsage(true, usageInstance))), says: "duplicate extension"},
		{name: "another key identifier of its issuer", forge: instance(replace(authorityKeyID(make([]byte, 20)))), says: "names another key of its issuer"},
		{
			name: "wrong curve in a CA",
			forge: func(f *forgery) {
				f.instance = f.rekey(f.instance, newKey(f.t, elliptic.P256()), f.zonal)
				f.leaf = f.rekey(f.leaf, f.leaf.key, f.instance)
			},
			says: "has a key on P-256, want P-384",
		},
		{
			name: "P-521 in a CA",
			forge: func(f *forgery) {
				f.instance = f.rekey(f.instance, newKey(f.t, elliptic.P521()), f.zonal)
				f.leaf = f.rekey(f.leaf, f.leaf.key, f.instance)
			},
			says: "has a key on P-521, want P-384",
		},
		{
			name: "SHA-256 in a CA's signature",
			forge: func(f *forgery) {
				f.leaf = &link{cert: resignSHA256(f.t, f.leaf, f.instance), key: f.leaf.key}
			},
			says: "is signed with ECDSA-SHA256",
		},
		{
			name:  "Ed25519 in a CA",
			forge: func(f *forgery) { f.instance = &link{cert: withEd25519(f.t, f.instance, f.zonal)} },
			says:  "has a key of type Ed25519, want ECDSA",
		},
		{
			name: "another issuer name",
			forge: func(f *forgery) {
				f.leaf = f.rekey(f.leaf, f.leaf.key, &link{cert: f.zonal.cert, key: f.instance.key})
			},
			says: "was issued by",
		},
		unreadable("byte after a certificate", func(f *forgery) {
			f.instance = &link{cert: &x509.Certificate{Raw: append(bytes.Clone(f.instance.cert.Raw), 0)}}
		}, "instance certificate cannot be read: x509: trailing data"),
		unreadable("compressed point", func(f *forgery) {
			// 04 x y becomes 02 and padding of the same length: no such point.
			point := f.instance.cert.RawSubjectPublicKeyInfo[23:]
			f.instance = f.rewrite(f.instance, point, append([]byte{2}, point[1:]...))
		}, "instance certificate cannot be read"),
		unreadable("point not on the curve", func(f *forgery) {
			point := f.instance.cert.RawSubjectPublicKeyInfo[23:]
			bad := bytes.Clone(point)
			bad[96] ^= 1
			f.instance = f.rewrite(f.instance, point, bad)
		}, "instance certificate cannot be read"),
		unreadable("another tag in the subject", func(f *forgery) {
			f.instance = f.rewrite(f.instance, []byte("\x0c\x0aWashington"), []byte("\x04\x0aWashington"))
		}, "instance certificate cannot be read"),
		unreadable("invalid date", func(f *forgery) {
			old := []byte(f.instance.cert.NotAfter.UTC().Format("060102150405Z"))
			f.instance = f.rewrite(f.instance, old, []byte("261332102030Z"))
		}, "instance certificate cannot be read"),
		unreadable("algorithm inside not the one outside", func(f *forgery) {
			f.instance = f.rewrite(f.instance, mustHex(f.t, "300a06082a8648ce3d040303"), mustHex(f.t, "300a06082a8648ce3d040302"))
		}, "instance certificate cannot be read"),
		unreadable("version 1", func(f *forgery) {
			f.instance = f.rewrite(f.instance, mustHex(f.t, "a003020102"), mustHex(f.t, "a003020100"))
		}, "instance certificate"),
	}
	for i := range cases {
		cases[i].name, cases[i].want, cases[i].is = "A21 "+cases[i].name, onlyChain, ErrChain
	}
	cases = append(cases,
		rejection{
			name: "A21 leaf on P-256", forge: func(f *forgery) { f.leaf = f.rekey(f.leaf, newKey(f.t, elliptic.P256()), f.instance) },
			want: []string{CheckSignature, CheckChain}, is: ErrChain, says: "does not verify",
		},
		rejection{
			name:  "A21 leaf with Ed25519",
			forge: func(f *forgery) { f.leaf = &link{cert: withEd25519(f.t, f.leaf, f.instance), key: f.leaf.key} },
			want:  []string{CheckSignature, CheckChain}, is: ErrSignature, says: "the leaf's key is Ed25519, not ECDSA",
		},
		rejection{
			name: "A21 leaf cut off",
			forge: func(f *forgery) {
				f.set("certificate", bstr(f.leaf.cert.Raw[:600]))
			},
			want: []string{CheckSignature, CheckChain}, is: ErrChain, says: "no leaf certificate",
		},
		rejection{
			name: "A21 end before beginning",
			forge: instance(func(tmpl *template) {
				tmpl.notBefore, tmpl.notAfter = tmpl.notAfter, tmpl.notBefore
			}),
			want: []string{CheckValidity}, is: ErrNotYetValid,
		},
	)
	testRejections(t, cases)
}

// resignSHA256 gives l's certificate signed with ecdsa-with-SHA256, and
// withEd25519 gives it for a key of another type.
func resignSHA256(t testing.TB, l, parent *link) *x509.Certificate {
	t.Helper()
	return recreate(t, l, parent, l.key.Public(), x509.ECDSAWithSHA256)
}

func withEd25519(t testing.TB, l, parent *link) *x509.Certificate {
	t.Helper()
	return recreate(t, l, parent, ed25519.NewKeyFromSeed(make([]byte, 32)).Public(), x509.ECDSAWithSHA384)
}

func recreate(t testing.TB, l, parent *link, key crypto.PublicKey, algorithm x509.SignatureAlgorithm) *x509.Certificate {
	t.Helper()
	c := l.cert
	der, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: c.SerialNumber, RawSubject: c.RawSubject, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		ExtraExtensions: c.Extensions, SignatureAlgorithm: algorithm,
	}, &x509.Certificate{RawSubject: parent.cert.RawSubject}, key, parent.key.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
