package eif

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// A Description is everything an image says about itself, in the shape, order
// and names of nitro-cli's describe-eif when marshalled as JSON.
type Description struct {
	EifVersion   uint16
	Measurements Measurements
	IsSigned     bool
	// SigningCertificate and SignatureCheck are nil for an unsigned image.
	SigningCertificate *CertificateInfo `json:",omitempty"`
	CheckCRC           bool
	// SignatureCheck says whether the signature is the certificate's and over
	// PCR0. As in nitro-cli it does not regard the certificate's dates; see
	// SignatureError.
	SignatureCheck *bool  `json:",omitempty"`
	ImageName      string `json:",omitempty"`
	ImageVersion   string `json:",omitempty"`
	// Metadata is nil if the image has none or it tells nothing about the
	// build.
	Metadata *MetadataInfo `json:",omitempty"`

	// SignatureError says why the image would not be started as a signed one:
	// a bad signature or a certificate outside its dates. It is nil for a good
	// signature and for none. Not part of nitro-cli's output.
	SignatureError error `json:"-"`
}

// A MetadataInfo is the Metadata object of a [Description]: the build metadata,
// DockerInfo, and the user's own keys beside them.
type MetadataInfo struct {
	BuildMetadata
	DockerInfo     json.RawMessage
	CustomMetadata json.RawMessage
}

// MarshalJSON writes the user's own keys flat behind the fixed ones, sorted. A
// key that would repeat a fixed one is left out, so that no custom metadata can
// pass for build metadata. Custom metadata that is no object, which nitro-cli
// cannot print at all, appears as the key CustomMetadata.
func (m MetadataInfo) MarshalJSON() ([]byte, error) {
	fixed, err := marshal(struct {
		BuildMetadata
		DockerInfo json.RawMessage
	}{m.BuildMetadata, m.DockerInfo})
	if err != nil || m.CustomMetadata == nil {
		return fixed, err
	}
	custom, err := decodeObject(m.CustomMetadata)
	if err != nil {
		custom = map[string]json.RawMessage{"CustomMetadata": m.CustomMetadata}
	}
	taken, err := decodeObject(fixed)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(bytes.TrimSuffix(fixed, []byte("}")))
	for _, key := range slices.Sorted(maps.Keys(custom)) {
		if _, ok := taken[key]; ok {
			continue
		}
		k, err := marshal(key)
		if err != nil {
			return nil, err
		}
		b.WriteByte(',')
		b.Write(k)
		b.WriteByte(':')
		b.Write(custom[key])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal without escapes for HTML, which nitro-cli does not
// have either; a caller's encoder may still add them.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Describe reads the whole image once and says everything about it. A wrong
// CRC, a bad signature and an expired certificate are findings in the result; a
// malformed signature or metadata section is a [*FormatError]. The time at is
// the one certificate dates are compared with.
func (im *Image) Describe(at time.Time) (*Description, error) {
	m, crc, err := im.scan()
	if err != nil {
		return nil, err
	}
	d := &Description{
		EifVersion:   im.header.Version,
		Measurements: m,
		CheckCRC:     crc == im.header.CRC,
	}
	if m.Signed {
		sig, err := im.Signature()
		if err != nil {
			return nil, err
		}
		d.IsSigned = true
		d.SigningCertificate = describeCertificate(sig.Certificate)
		bad := sig.Check(m.PCR0)
		good := bad == nil
		d.SignatureCheck = &good
		if d.SignatureError = bad; good {
			d.SignatureError = sig.CheckDates(at)
		}
	}
	meta, err := im.Metadata()
	if err != nil {
		return nil, err
	}
	if meta != nil {
		d.ImageName, d.ImageVersion = meta.ImageName, meta.ImageVersion
		if meta.Build != nil {
			d.Metadata = &MetadataInfo{
				BuildMetadata:  *meta.Build,
				DockerInfo:     meta.DockerInfo,
				CustomMetadata: meta.CustomMetadata,
			}
		}
	}
	return d, nil
}
