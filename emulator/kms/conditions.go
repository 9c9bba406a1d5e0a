package kms

import (
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// conditions are condition keys of a request with their values (KMS developer
// guide, "Condition keys for AWS KMS"; IAM user guide, "AWS global condition
// context keys"). What a request does not have is not in it: kms:ViaService,
// aws:SourceIp and aws:SourceVpce never are, for requests come over vsock and from
// no other service.
type conditions map[string][]string

// set adds a key with a value that is not empty.
func (m conditions) set(key, value string) {
	if value != "" {
		m[key] = []string{value}
	}
}

func (m conditions) setBool(key string, value bool) { m.set(key, strconv.FormatBool(value)) }

// conditions of an access: those of the caller, the key, the document, and what
// the operation adds.
func (c *call) conditions(a access) conditions {
	m := conditions(c.identity.Keys())
	m.set("aws:CurrentTime", c.now.Format(time.RFC3339))
	m.set("aws:EpochTime", strconv.FormatInt(c.now.Unix(), 10))
	m.setBool("aws:SecureTransport", c.http.TLS != nil)
	m.setBool("aws:PrincipalIsAWSService", false)
	m.setBool("aws:ViaAWSService", false)
	m.set("aws:RequestedRegion", c.s.cfg.Region)
	m.set("aws:UserAgent", c.event.UserAgent)
	m.set("kms:CallerAccount", c.identity.Principal.Account)
	if a.key != nil {
		m.ofKey(a.key, c.s.cfg.Ring.Aliases(a.key.ID))
	}
	if alias := aliasIn(a.asked); alias != "" {
		m.set("kms:RequestAlias", alias)
	}
	m.ofRecipient(a.recipient)
	maps.Copy(m, a.more)
	return m
}

func (m conditions) ofKey(k *keys.Key, aliases []string) {
	m.set("aws:ResourceAccount", k.Account)
	m.set("kms:KeySpec", string(k.Spec))
	m.set("kms:CustomerMasterKeySpec", string(k.Spec)) // its name of before 2022
	m.set("kms:KeyUsage", string(k.Usage))
	m.set("kms:CustomerMasterKeyUsage", string(k.Usage))
	m.set("kms:KeyOrigin", string(types.OriginTypeAwsKms))
	m.setBool("kms:MultiRegion", false)
	if len(aliases) > 0 {
		m["kms:ResourceAliases"] = aliases
	}
	for key, value := range k.Tags {
		m["aws:ResourceTag/"+key] = []string{value} // may be empty
	}
}

// imageKey is the older name of the condition key for PCR0.
const imageKey = attestationKeys + "ImageSha384"

func pcrKey(i uint) string { return attestationKeys + attestation.CheckPCR(i) }

func (m conditions) ofRecipient(r *recipient) {
	if r == nil {
		return
	}
	if r.document.NitroTPM {
		for i, value := range r.document.PCRs {
			m.set(attestationKeys+"NitroTPM"+attestation.CheckPCR(i), hex.EncodeToString(value))
		}
		return
	}
	for i, value := range r.document.PCRs {
		m.set(pcrKey(i), hex.EncodeToString(value))
	}
	m.set(imageKey, hex.EncodeToString(r.document.PCRs[0]))
}

// withContext adds the keys of an encryption context.
func (m conditions) withContext(context map[string]string) conditions {
	for key, value := range context {
		m["kms:EncryptionContext:"+key] = []string{value}
	}
	if len(context) > 0 {
		m["kms:EncryptionContextKeys"] = slices.Sorted(maps.Keys(context))
	}
	return m
}

// withTags adds the keys of tags that a request brings.
func (m conditions) withTags(tags map[string]string) conditions {
	for key, value := range tags {
		m["aws:RequestTag/"+key] = []string{value}
	}
	if len(tags) > 0 {
		m["aws:TagKeys"] = slices.Sorted(maps.Keys(tags))
	}
	return m
}

// aliasIn is the alias by which a key was asked for, empty if it was not.
func aliasIn(id string) string {
	if strings.HasPrefix(id, "arn:") {
		id = id[strings.LastIndexByte(id, ':')+1:]
	}
	if !strings.HasPrefix(id, "alias/") {
		return ""
	}
	return id
}
