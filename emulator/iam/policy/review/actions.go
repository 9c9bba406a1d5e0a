package review

import "github.com/nitrolab/nitrolab/emulator/iam/policy"

// RecipientActions are the operations that take a Recipient, and so the only ones
// with an attestation to put conditions on (AWS KMS developer guide,
// "Cryptographic attestation support in AWS KMS").
var RecipientActions = []string{
	"kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair", "kms:DeriveSharedSecret", actionRandom,
}

// actionRandom is about no key: no key policy is asked, only identity policies
// are. Its answer is worth nothing to anyone who can draw bytes otherwise.
const actionRandom = "kms:GenerateRandom"

// actionReEncrypt moves a ciphertext to another key, which may be of the
// requester's own, and takes no Recipient.
const actionReEncrypt = "kms:ReEncryptFrom"

// changing are the actions by which a requester gives itself what a policy denies:
// another policy, a grant (whose constraints know no attestation), or a replica of
// the key under another policy.
var changing = []string{"kms:PutKeyPolicy", "kms:CreateGrant", "kms:ReplicateKey"}

// withoutDocument are other operations on a key that policies name beside the
// recipient actions. A condition on an attestation is never true for them.
var withoutDocument = []string{
	"kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo",
	"kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateDataKeyPairWithoutPlaintext",
	"kms:Sign", "kms:Verify", "kms:GenerateMac", "kms:VerifyMac",
	"kms:DescribeKey", "kms:GetPublicKey", "kms:CreateGrant",
}

// of are those among actions that the statement is about.
func of(s *policy.Statement, actions []string) []string {
	var list []string
	for _, a := range actions {
		if s.Covers(a) {
			list = append(list, a)
		}
	}
	return list
}

// isIdentity reports whether p is a policy of a user or a role: one that names
// nobody.
func isIdentity(p *policy.Policy) bool { return p.CheckIdentity() == nil }
