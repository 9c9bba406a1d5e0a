package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

var errNoDockerArchive = errors.New("no docker archive")

// openDockerArchive opens what docker save writes: manifest.json names the
// configuration and the layers.
func openDockerArchive(s store, o Options) (*Image, error) {
	raw, err := readSmall(s, "manifest.json")
	if err != nil {
		return nil, optional(err, errNoDockerArchive)
	}
	var manifest tarball.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	d, reference, err := pickDescriptor(manifest, o.Tag)
	if err != nil {
		return nil, err
	}
	raw, err = readSmall(s, d.Config)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	sum := sha256.Sum256(raw)
	im := &Image{
		Config:    config,
		ID:        v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])},
		Reference: reference,
	}
	for _, file := range d.Layers {
		im.layers = append(im.layers, layer{file: file})
	}
	return im, nil
}

// pickDescriptor finds the image with the tag, or the only one.
func pickDescriptor(manifest tarball.Manifest, tag string) (tarball.Descriptor, string, error) {
	var all []string
	for _, d := range manifest {
		if tag == "" && len(manifest) == 1 {
			reference := ""
			if len(d.RepoTags) > 0 {
				reference = d.RepoTags[0]
			}
			return d, reference, nil
		}
		for _, have := range d.RepoTags {
			if tag != "" && sameReference(tag, have) {
				return d, have, nil
			}
			all = append(all, fmt.Sprintf("%q", have))
		}
	}
	if tag == "" {
		return tarball.Descriptor{}, "", fmt.Errorf("the archive has %d images, name one of: %s", len(manifest), quoteAll(sorted(all)))
	}
	return tarball.Descriptor{}, "", fmt.Errorf("no image %q; there are: %s", tag, quoteAll(sorted(all)))
}

// sameReference compares references as docker does: registry, "library" and
// "latest" may be left out.
func sameReference(want, have string) bool {
	if want == have {
		return true
	}
	a, errA := name.NewTag(want)
	b, errB := name.NewTag(have)
	return errA == nil && errB == nil && a.Name() == b.Name()
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
