package review

import (
	"strconv"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// attestationPrefix begins the condition keys about the attestation of a
// recipient (AWS KMS developer guide, "Condition keys for attested platforms").
const attestationPrefix = "kms:RecipientAttestation:"

// An attestationKey is one of them.
type attestationKey struct {
	pcr  int  // its register; 0 for ImageSha384, which is the same value
	tpm  bool // NitroTPMPCR<n>, of an EC2 instance and not of an enclave
	real bool // false: there is no such key, so no request ever has it
}

// Highest registers: 32 in an enclave, 24 in a TPM (TCG PC Client Platform TPM
// Profile, section 4.6).
const (
	lastPCR    = 31
	lastTPMPCR = 23
)

// parseKey reads a condition key; false if it is not about an attestation.
func parseKey(key string) (attestationKey, bool) {
	if len(key) < len(attestationPrefix) || !strings.EqualFold(key[:len(attestationPrefix)], attestationPrefix) {
		return attestationKey{}, false
	}
	name := strings.ToLower(key[len(attestationPrefix):])
	if name == "imagesha384" {
		return attestationKey{real: true}, true
	}
	if digits, ok := strings.CutPrefix(name, "nitrotpmpcr"); ok {
		n, ok := register(digits, lastTPMPCR)
		return attestationKey{pcr: n, tpm: true, real: ok}, true
	}
	if digits, ok := strings.CutPrefix(name, "pcr"); ok {
		n, ok := register(digits, lastPCR)
		return attestationKey{pcr: n, real: ok}, true
	}
	return attestationKey{}, true
}

// register reads the number of a register, as KMS writes it: without zeros before
// it.
func register(digits string, last int) (int, bool) {
	n, err := strconv.Atoi(digits)
	return n, err == nil && 0 <= n && n <= last && strconv.Itoa(n) == digits
}

// attested are the conditions of a statement that are about an attestation.
func attested(s *policy.Statement) []*policy.Condition {
	var list []*policy.Condition
	for i := range s.Conditions {
		if _, ok := parseKey(s.Conditions[i].Key); ok {
			list = append(list, &s.Conditions[i])
		}
	}
	return list
}

// nullOperator asks whether a key is absent.
const nullOperator = "Null"
