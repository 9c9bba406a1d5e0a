// Package oci reads a container image from an archive or a directory and
// flattens its layers into a root filesystem, without a container engine, a
// registry or root.
//
// It reads what docker save writes (a tar with manifest.json) and OCI image
// layouts (index.json, as a directory or a tar), either of them also gzipped;
// layers may be plain, gzip or zstd. Manifests, configurations and layers are
// checked against their digests.
//
// Layers are applied as the OCI image specification says ("Image Layer
// Filesystem Changeset"), with parents resolved through symbolic links the way
// container engines do. go-containerregistry's mutate.Extract is not used for
// that: it drops relative symbolic links that go above the root (which the
// kernel allows), loses a file that its own layer whites out and adds again,
// and does not follow links among parents, so what would be measured is not
// what docker run shows.
package oci
