package nitrocli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/images/bundle"
)

// Transports that --docker-uri may begin with, those of skopeo and podman
// (containers-transports(5)) and one of our own for a root file system.
const (
	transportDockerArchive = "docker-archive"
	transportOCI           = "oci"
	transportOCIArchive    = "oci-archive"
	transportRootFS        = "rootfs"
)

// Files of a folder for transportRootFS, in the layout of the ramdisk that
// nitro-cli makes of a container image.
const (
	rootFSName  = "rootfs"
	commandName = "cmd" // one argument a line
	envName     = "env" // one NAME=value a line; may be missing
)

// maxLines bounds the files cmd and env.
const maxLines = 1 << 20

// findApp is the application that --docker-uri and --docker-dir name, as far as
// it can be had without a docker daemon.
func findApp(uri, dir string, hasDir bool) (bundle.App, error) {
	if hasDir {
		return appInDir(uri, dir)
	}
	transport, rest, ok := strings.Cut(uri, ":")
	if ok {
		switch transport {
		case transportDockerArchive, transportOCI, transportOCIArchive:
			path, tag, _ := strings.Cut(rest, ":")
			return bundle.Archive{Path: path, Tag: tag}, exists(path, uri)
		case transportRootFS:
			return rootFS(rest)
		}
	}
	if err := exists(uri, uri); err != nil {
		return nil, err
	}
	return bundle.Archive{Path: uri}, nil
}

// exists says why an image is not at hand.
func exists(path, uri string) error {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return failure.Wrap(failure.DockerImagePullError, fmt.Errorf(
			"there is no file %s, and no docker daemon to get the image %s from: write it to a file elsewhere, with docker save, and give the file", path, uri))
	}
	return failure.Wrap(failure.DockerImagePullError, err)
}

// appInDir takes a folder with an OCI layout. A Dockerfile needs a daemon.
func appInDir(uri, dir string) (bundle.App, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, failure.Wrap(failure.DockerImageBuildError, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil {
		return nil, failure.New(failure.DockerImageBuildError,
			"%s holds no OCI layout, and there is no docker daemon to build %s from a Dockerfile: build it elsewhere, write it to a file with docker save, and give the file as --docker-uri", dir, uri)
	}
	// The URI is the name that docker would give the image it builds, not one
	// that the layout must have.
	return bundle.Archive{Path: dir}, nil
}

// rootFS takes a folder with rootfs, cmd and env.
func rootFS(dir string) (bundle.App, error) {
	cmd, err := readLines(dir, commandName)
	if err != nil {
		return nil, failure.Wrap(failure.DockerImagePullError, err)
	}
	env, err := readLines(dir, envName)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, failure.Wrap(failure.DockerImagePullError, err)
	}
	return bundle.Directory{Path: filepath.Join(dir, rootFSName), Cmd: cmd, Env: env}, nil
}

func readLines(dir, name string) ([]string, error) {
	b, err := readBlob(dir, name, maxLines)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), nil
}
