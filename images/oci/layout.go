package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var errNoLayout = errors.New("no OCI layout")

// Annotations that name an image in an index: OCI's has the tag or the whole
// name, containerd's and docker's the whole name.
const (
	annotationRef        = "org.opencontainers.image.ref.name"
	annotationContainerd = "io.containerd.image.name"
	annotationReference  = "vnd.docker.reference.type" // of attestations
)

// maxIndexDepth bounds indexes inside indexes: the layout's own, one for the
// platforms of an image, one to spare.
const maxIndexDepth = 3

// openLayout opens an OCI image layout (image specification, "image-layout").
func openLayout(s store, o Options) (*Image, error) {
	raw, err := readSmall(s, "index.json")
	if err != nil {
		return nil, optional(err, errNoLayout)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	p := picker{store: s, options: o, found: make(map[v1.Hash]candidate)}
	if err := p.index(index, "", maxIndexDepth); err != nil {
		return nil, err
	}
	c, err := p.only()
	if err != nil {
		return nil, err
	}
	raw, err = readBlob(s, c.desc.Digest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	raw, err = readBlob(s, manifest.Config.Digest)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	im := &Image{Config: config, ID: manifest.Config.Digest, Reference: c.name}
	for _, l := range manifest.Layers {
		if strings.Contains(string(l.MediaType), "+encrypted") {
			return nil, fmt.Errorf("layer %s is encrypted", l.Digest)
		}
		im.layers = append(im.layers, layer{file: blobName(l.Digest)})
	}
	return im, nil
}

// blobName is where a layout keeps a blob. A Hash that was parsed is "sha256"
// and 64 hex digits, so the name stays inside.
func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// readBlob reads a JSON blob and checks its digest.
func readBlob(s store, h v1.Hash) ([]byte, error) {
	b, err := readSmall(s, blobName(h))
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(b); h.Algorithm != "sha256" || hex.EncodeToString(got[:]) != h.Hex {
		return nil, fmt.Errorf("%s has the digest sha256:%x", h, got)
	}
	return b, nil
}

// A picker looks for the one image of an index that is wanted.
type picker struct {
	store   store
	options Options
	found   map[v1.Hash]candidate
	others  []string // what was there and not wanted
}

type candidate struct {
	desc v1.Descriptor
	name string
}

// index goes through an index. name is what the index is called itself.
func (p *picker) index(index *v1.IndexManifest, name string, depth int) error {
	if depth == 0 {
		return fmt.Errorf("indexes are nested more than %d deep", maxIndexDepth)
	}
	for _, d := range index.Manifests {
		called := descriptorName(d)
		if called == "" {
			called = name
		}
		if p.options.Tag != "" && !sameReference(p.options.Tag, called) && !d.MediaType.IsIndex() {
			p.others = append(p.others, fmt.Sprintf("%q", called))
			continue
		}
		switch {
		case d.Annotations[annotationReference] != "":
			// Attestations of a build are in the index like images.
		case d.MediaType.IsIndex():
			raw, err := readBlob(p.store, d.Digest)
			if err != nil {
				return fmt.Errorf("index: %w", err)
			}
			inner, err := v1.ParseIndexManifest(bytes.NewReader(raw))
			if err != nil {
				return fmt.Errorf("index %s: %w", d.Digest, err)
			}
			if err := p.index(inner, called, depth-1); err != nil {
				return err
			}
		case d.Platform != nil && (d.Platform.OS != "linux" || d.Platform.Architecture != p.options.Architecture):
			p.others = append(p.others, d.Platform.String())
		case d.MediaType == "" || d.MediaType == types.OCIManifestSchema1 || d.MediaType == types.DockerManifestSchema2:
			p.found[d.Digest] = candidate{d, called}
		default:
			p.others = append(p.others, string(d.MediaType))
		}
	}
	return nil
}

// only returns the image if exactly one was found.
func (p *picker) only() (candidate, error) {
	switch len(p.found) {
	case 1:
		for _, c := range p.found {
			return c, nil
		}
	case 0:
		wanted := "linux/" + p.options.Architecture
		if p.options.Tag != "" {
			wanted = fmt.Sprintf("%q for %s", p.options.Tag, wanted)
		}
		return candidate{}, fmt.Errorf("no image %s; there are: %s", wanted, quoteAll(p.others))
	}
	var names []string
	for _, c := range p.found {
		names = append(names, fmt.Sprintf("%q", c.name))
	}
	return candidate{}, fmt.Errorf("%d images match, name one of: %s", len(names), quoteAll(sorted(names)))
}

// descriptorName is what an index calls an image.
func descriptorName(d v1.Descriptor) string {
	if name := d.Annotations[annotationContainerd]; name != "" {
		return name
	}
	return d.Annotations[annotationRef]
}
