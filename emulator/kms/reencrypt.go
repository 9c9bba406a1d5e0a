package kms

import (
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

func (c *call) reEncrypt(in *kms.ReEncryptInput) (*kms.ReEncryptOutput, error) {
	source := ciphertextIn{
		member: "ciphertextBlob", blob: in.CiphertextBlob, keyMember: "sourceKeyId", keyID: in.SourceKeyId,
		algorithm: in.SourceEncryptionAlgorithm, context: in.SourceEncryptionContext,
		dryRun: value(in.DryRun), modifiers: in.DryRunModifiers,
	}
	var v validation
	source.validate(&v)
	v.keyID("destinationKeyId", in.DestinationKeyId)
	one(&v, "sourceEncryptionAlgorithm", in.SourceEncryptionAlgorithm)
	one(&v, "destinationEncryptionAlgorithm", in.DestinationEncryptionAlgorithm)
	v.context("sourceEncryptionContext", in.SourceEncryptionContext)
	v.context("destinationEncryptionContext", in.DestinationEncryptionContext)
	if err := v.err(); err != nil {
		return nil, err
	}
	if err := c.grantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	from, to, err := c.openBoth(in, source)
	if err != nil {
		return nil, err
	}
	opened, err := c.decryptWith(from, source)
	if err != nil {
		return nil, err
	}
	defer opened.Plaintext.Wipe()
	if source.ignored() {
		return nil, c.dry(in.DryRun)
	}
	sealed, err := c.s.cfg.Ring.Encrypt(to.ID, keys.EncryptionAlgorithm(in.DestinationEncryptionAlgorithm), opened.Plaintext, in.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	return &kms.ReEncryptOutput{
		CiphertextBlob:                 sealed.Blob,
		DestinationEncryptionAlgorithm: symmetric(in.DestinationEncryptionAlgorithm),
		DestinationKeyMaterialId:       present(sealed.MaterialID),
		KeyId:                          aws.String(to.ARN),
		SourceEncryptionAlgorithm:      symmetric(in.SourceEncryptionAlgorithm),
		SourceKeyId:                    aws.String(from.ARN),
		SourceKeyMaterialId:            present(opened.MaterialID),
	}, c.dry(in.DryRun)
}

// openBoth asks for kms:ReEncryptFrom on one key and kms:ReEncryptTo on the other;
// both policies can ask whether they are the same (kms:ReEncryptOnSameKey).
func (c *call) openBoth(in *kms.ReEncryptInput, source ciphertextIn) (from, to *keys.Key, err error) {
	to, err = c.key(*in.DestinationKeyId)
	if err != nil {
		return nil, nil, err
	}
	// Which key the source has is known for sure only behind its permission; that
	// it is the same as the destination is no secret to who named both.
	same := conditions{}
	if k, err := c.sourceKey(source); err == nil {
		same.setBool("kms:ReEncryptOnSameKey", k.ID == to.ID)
	}
	more := withAlgorithm(in.SourceEncryptionAlgorithm, in.SourceEncryptionContext)
	maps.Copy(more, same)
	from, err = c.openCiphertext(source, access{action: "ReEncryptFrom", more: more})
	if err != nil {
		return nil, nil, err
	}
	more = withAlgorithm(in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext)
	maps.Copy(more, same)
	return from, to, c.authorize(access{action: "ReEncryptTo", key: to, asked: *in.DestinationKeyId, more: more})
}

func (c *call) sourceKey(b ciphertextIn) (*keys.Key, error) {
	if b.keyID != nil {
		return c.key(*b.keyID)
	}
	return c.s.cfg.Ring.CiphertextKey(b.blob)
}
