package eif

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Metadata is the JSON object of the metadata section, as nitro-cli writes it.
// It describes how an image was made; no PCR covers it, so whoever has the file
// can change it at will.
type Metadata struct {
	ImageName    string
	ImageVersion string
	// Build is nil in an image whose metadata has none, such as the empty
	// object that QEMU writes.
	Build *BuildMetadata
	// DockerInfo is the JSON of docker inspect, nil for none.
	DockerInfo json.RawMessage
	// CustomMetadata is a JSON object of the user's own of at most
	// [MaxCustomMetadata] bytes, nil for none.
	CustomMetadata json.RawMessage
}

// BuildMetadata says when and with what an image was built.
type BuildMetadata struct {
	// BuildTime is in RFC 3339 format, see [FormatBuildTime].
	BuildTime        string
	BuildTool        string
	BuildToolVersion string
	OperatingSystem  string
	KernelVersion    string
}

// FormatBuildTime writes t as nitro-cli does, in UTC and with a numeric zone.
// The zero time stands for "not told" and gives the Unix epoch, so that equal
// inputs make equal images: nothing in this package reads the clock.
func FormatBuildTime(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return t.UTC().Format("2006-01-02T15:04:05-07:00")
}

// ParseSourceDateEpoch reads the value of the environment variable
// SOURCE_DATE_EPOCH: seconds since 1970-01-01 UTC
// (reproducible-builds.org/specs/source-date-epoch).
func ParseSourceDateEpoch(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("eif: SOURCE_DATE_EPOCH is %q, allowed are seconds since 1970", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// encode checks m and writes the section data: compact JSON, keys in
// nitro-cli's order, every key present.
func (m Metadata) encode() ([]byte, error) {
	if n := len(m.CustomMetadata); n > MaxCustomMetadata {
		return nil, fmt.Errorf("eif: custom metadata has %d bytes, allowed are at most %d", n, MaxCustomMetadata)
	}
	if len(m.CustomMetadata) > 0 {
		if _, err := decodeObject(m.CustomMetadata); err != nil {
			return nil, fmt.Errorf("eif: custom metadata: %w", err)
		}
	}
	if len(m.DockerInfo) > 0 && !json.Valid(m.DockerInfo) {
		return nil, errors.New("eif: docker info is no JSON")
	}
	build := BuildMetadata{BuildTime: FormatBuildTime(time.Time{})}
	if m.Build != nil {
		build = *m.Build
	}
	b, err := marshal(struct {
		ImageName      string
		ImageVersion   string
		BuildMetadata  BuildMetadata
		DockerInfo     json.RawMessage
		CustomMetadata json.RawMessage
	}{m.ImageName, m.ImageVersion, build, m.DockerInfo, m.CustomMetadata})
	if err != nil {
		return nil, fmt.Errorf("eif: encode metadata: %w", err)
	}
	if len(b) > MaxMetadata {
		return nil, fmt.Errorf("eif: metadata has %d bytes, allowed are at most %d", len(b), MaxMetadata)
	}
	return b, nil
}

// ParseMetadata reads the data of a metadata section. It must be a JSON object;
// keys are matched exactly and may be missing.
func ParseMetadata(raw []byte) (Metadata, error) {
	object, err := decodeObject(raw)
	if err != nil {
		return Metadata{}, err
	}
	var m Metadata
	if err := decodeStrings(object, map[string]*string{"ImageName": &m.ImageName, "ImageVersion": &m.ImageVersion}); err != nil {
		return Metadata{}, err
	}
	if v, ok := object["BuildMetadata"]; ok {
		build, err := decodeObject(v)
		if err != nil {
			return Metadata{}, fmt.Errorf("BuildMetadata: %w", err)
		}
		m.Build = new(BuildMetadata)
		err = decodeStrings(build, map[string]*string{
			"BuildTime":        &m.Build.BuildTime,
			"BuildTool":        &m.Build.BuildTool,
			"BuildToolVersion": &m.Build.BuildToolVersion,
			"OperatingSystem":  &m.Build.OperatingSystem,
			"KernelVersion":    &m.Build.KernelVersion,
		})
		if err != nil {
			return Metadata{}, fmt.Errorf("BuildMetadata: %w", err)
		}
	}
	m.DockerInfo = nonNull(object["DockerInfo"])
	m.CustomMetadata = nonNull(object["CustomMetadata"])
	return m, nil
}

// MetadataJSON is the data of the metadata section as it is in the file, nil if
// there is none. More than [MaxMetadata] bytes are a [*FormatError].
func (im *Image) MetadataJSON() ([]byte, error) { return im.load(SectionMetadata, MaxMetadata) }

// Metadata reads the metadata section; nil if there is none. Content that is no
// JSON object is a [*FormatError], although a hypervisor would boot the image.
func (im *Image) Metadata() (*Metadata, error) {
	raw, err := im.MetadataJSON()
	if raw == nil || err != nil {
		return nil, err
	}
	m, err := ParseMetadata(raw)
	if err != nil {
		i, s, _ := im.find(SectionMetadata)
		return nil, &FormatError{
			Field:   im.name(i) + ": content",
			Found:   "not readable (" + err.Error() + ")",
			Allowed: "allowed is a JSON object in nitro-cli's shape",
			Offset:  s.Offset + SectionHeaderSize,
		}
	}
	return &m, nil
}

// decodeObject reads a JSON object one level deep.
func decodeObject(raw []byte) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	if object == nil {
		return nil, errors.New("no JSON object: null")
	}
	return object, nil
}

// decodeStrings reads the string fields of object.
func decodeStrings(object map[string]json.RawMessage, fields map[string]*string) error {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		v, ok := object[key]
		if !ok {
			continue
		}
		if err := json.Unmarshal(v, fields[key]); err != nil {
			return fmt.Errorf("%s is no string", key)
		}
	}
	return nil
}

// nonNull turns JSON's null into nil.
func nonNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
