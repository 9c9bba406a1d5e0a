package bundle

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/oci"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// An Archive is a container image in a file or directory, see package oci.
type Archive struct {
	Path string
	// Tag names the image if the archive holds several.
	Tag string
	// Cmd replaces the image's command.
	Cmd []string
	// DockerCommand runs the image's ENTRYPOINT followed by its CMD, as docker
	// does. Without it the rule is nitro-cli's: CMD, or ENTRYPOINT if there is
	// no CMD, so that what runs here also runs there.
	DockerCommand bool
	// Env is added to the image's environment; an entry replaces one of the
	// same name.
	Env []string
}

func (a Archive) load(ctx context.Context, b *builder) (*application, error) {
	im, err := oci.Open(ctx, a.Path, oci.Options{
		Architecture: goArch(b.spec.Arch), Tag: a.Tag, TempDir: b.spec.TempDir, Limits: b.spec.Limits,
	})
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	b.closers = append(b.closers, im)
	cmd, err := a.command(im, b)
	if err != nil {
		return nil, err
	}
	spool, err := rootfs.NewSpool(b.spec.TempDir, b.spec.Limits)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	b.closers = append(b.closers, spool)
	tree, lost, err := im.Flatten(ctx, spool)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	for _, s := range lost {
		b.warn("%s", s)
	}
	info, err := dockerInfo(im)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return &application{
		tree: tree, cmd: cmd, env: mergeEnv(im.Config.Config.Env, a.Env),
		name: repository(im.Reference), version: im.ID.Hex, dockerInfo: info,
	}, nil
}

// command chooses what to run and tells what an enclave does not regard.
func (a Archive) command(im *oci.Image, b *builder) ([]string, error) {
	c := im.Config.Config
	if c.WorkingDir != "" && c.WorkingDir != "/" {
		b.warn("the image wants the working directory %q; an enclave starts in \"/\"", c.WorkingDir)
	}
	if c.User != "" && c.User != "0" && c.User != "root" && c.User != "0:0" {
		b.warn("the image wants to run as %q; an enclave runs everything as root", c.User)
	}
	switch {
	case len(a.Cmd) > 0:
		return a.Cmd, nil
	case a.DockerCommand && len(c.Entrypoint)+len(c.Cmd) > 0:
		return slices.Concat(c.Entrypoint, c.Cmd), nil
	case len(c.Cmd) > 0:
		if len(c.Entrypoint) > 0 {
			b.warn("the image has ENTRYPOINT %q and CMD %q; as nitro-cli does, only CMD is run", c.Entrypoint, c.Cmd)
		}
		return c.Cmd, nil
	case len(c.Entrypoint) > 0:
		return c.Entrypoint, nil
	}
	return nil, fmt.Errorf("bundle: image %s has neither CMD nor ENTRYPOINT", a.Path)
}

// mergeEnv adds variables; the ones of the image keep their place.
func mergeEnv(image, more []string) []string {
	env := slices.Clone(image)
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		i := slices.IndexFunc(env, func(s string) bool { n, _, _ := strings.Cut(s, "="); return n == name })
		if i >= 0 {
			env[i] = v
		} else {
			env = append(env, v)
		}
	}
	return env
}

// dockerInfo is the part of docker inspect's output that the image itself
// determines, under docker's names.
func dockerInfo(im *oci.Image) (json.RawMessage, error) {
	c := im.Config
	tags := []string{}
	if im.Reference != "" {
		tags = append(tags, im.Reference)
	}
	type config struct {
		User       string
		Env        []string
		Cmd        []string
		Entrypoint []string
		WorkingDir string
		Labels     map[string]string
	}
	return json.Marshal(struct {
		ID           string `json:"Id"`
		RepoTags     []string
		Created      string
		Architecture string
		OS           string `json:"Os"`
		Config       config
		RootFS       any
	}{
		ID: im.ID.String(), RepoTags: tags, Created: c.Created.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"),
		Architecture: c.Architecture, OS: c.OS,
		Config: config{c.Config.User, c.Config.Env, c.Config.Cmd, c.Config.Entrypoint, c.Config.WorkingDir, c.Config.Labels},
		RootFS: map[string]any{"Type": "layers", "Layers": c.RootFS.DiffIDs},
	})
}

// repository is a reference without its tag.
func repository(reference string) string {
	if i := strings.LastIndexByte(reference, ':'); i > strings.LastIndexByte(reference, '/') {
		return reference[:i]
	}
	return reference
}

// goArch is the name that container images use.
func goArch(a eif.Arch) string {
	if a == eif.AArch64 {
		return "arm64"
	}
	return "amd64"
}
