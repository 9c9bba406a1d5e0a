package keys

import (
	"slices"
	"strings"
	"unicode"
)

// A Spec is a KeySpec of the KMS API: the kind and the size of the material.
type Spec string

// The specs a Ring makes. A data key pair can have the RSA and ECC ones.
const (
	Symmetric Spec = "SYMMETRIC_DEFAULT" // AES-256-GCM
	RSA2048   Spec = "RSA_2048"
	RSA3072   Spec = "RSA_3072"
	RSA4096   Spec = "RSA_4096"
	ECCP256   Spec = "ECC_NIST_P256"
	ECCP384   Spec = "ECC_NIST_P384"
	ECCP521   Spec = "ECC_NIST_P521"
	HMAC224   Spec = "HMAC_224"
	HMAC256   Spec = "HMAC_256"
	HMAC384   Spec = "HMAC_384"
	HMAC512   Spec = "HMAC_512"
)

// A Usage is a KeyUsage of the KMS API: the one purpose of a key.
type Usage string

// Usages of keys.
const (
	EncryptDecrypt    Usage = "ENCRYPT_DECRYPT"
	SignVerify        Usage = "SIGN_VERIFY"
	KeyAgreement      Usage = "KEY_AGREEMENT"
	GenerateVerifyMAC Usage = "GENERATE_VERIFY_MAC"
)

// A State is a KeyState of the KMS API.
type State string

// States of keys.
const (
	Enabled         State = "Enabled"
	Disabled        State = "Disabled"
	PendingDeletion State = "PendingDeletion"
)

// usages says for what a key of each spec may be made; the first is what it is for
// if nobody says. (CreateKey, KeyUsage.)
var usages = map[Spec][]Usage{
	Symmetric: {EncryptDecrypt},
	RSA2048:   {EncryptDecrypt, SignVerify},
	RSA3072:   {EncryptDecrypt, SignVerify},
	RSA4096:   {EncryptDecrypt, SignVerify},
	ECCP256:   {SignVerify, KeyAgreement},
	ECCP384:   {SignVerify, KeyAgreement},
	ECCP521:   {SignVerify, KeyAgreement},
	HMAC224:   {GenerateVerifyMAC},
	HMAC256:   {GenerateVerifyMAC},
	HMAC384:   {GenerateVerifyMAC},
	HMAC512:   {GenerateVerifyMAC},
}

// checkSpec refuses what cannot be made. An empty spec is Symmetric; an empty usage is
// allowed for Symmetric only, as in CreateKey.
func checkSpec(spec Spec, usage Usage) (Spec, Usage, error) {
	if spec == "" {
		spec = Symmetric
	}
	allowed, known := usages[spec]
	switch {
	case !known:
		return "", "", fail(ErrUnsupported, "KeySpec is %q; this emulator makes %s", clip(string(spec)), "SYMMETRIC_DEFAULT, RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521 and HMAC_224 to HMAC_512")
	case usage == "" && spec == Symmetric:
		usage = EncryptDecrypt
	case usage == "":
		return "", "", fail(ErrValidation, "KeyUsage is missing; a key with KeySpec %s needs one of %v", spec, allowed)
	case !slices.Contains(allowed, usage):
		return "", "", fail(ErrValidation, "KeyUsage %s is not compatible with KeySpec %s; allowed is one of %v", clip(string(usage)), spec, allowed)
	}
	return spec, usage, nil
}

func (s Spec) rsaBits() int {
	switch s {
	case RSA2048:
		return 2048
	case RSA3072:
		return 3072
	case RSA4096:
		return 4096
	}
	return 0
}

func (s Spec) asymmetric() bool { return s.rsaBits() > 0 || s.curve() != nil }

// clip shortens what a stranger sent before it goes into an error, and replaces what
// would move a cursor there.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
