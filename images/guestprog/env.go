package guestprog

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
)

// kept are go settings that say where things are and whom to trust, not what to
// build. They are read by `go env`, because a user may have set them in a file
// (`go env -w`) which the build itself does not read.
var kept = []string{
	"GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB",
	"GOINSECURE", "GOVCS", "GOAUTH", "GOTOOLCHAIN", "GOTMPDIR",
}

// passed are variables of the process environment that the go command and the
// tools it calls to download modules need.
var passed = []string{
	"PATH", "HOME", "USER", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "GOROOT",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL", "SSH_AUTH_SOCK",
}

// fixed is what is built. GOAMD64=v1 runs on every CPU model of QEMU; an empty
// GOENV file keeps settings out that are not in kept.
var fixed = []string{
	"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOFLAGS=", "GOEXPERIMENT=", "GOENV=off",
	"GOFIPS140=off", "GO111MODULE=on", "LC_ALL=C",
}

func newGoCommand(ctx context.Context) (*goCommand, error) {
	goPath, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("%w: this binary does not carry them and there is no go command to build them with (install Go, or use a binary made by `make build`)", ErrUnavailable)
	}
	g := &goCommand{path: goPath}
	out, err := g.run(ctx, "", os.Environ(), slices.Concat([]string{"env", "-json"}, kept)...)
	if err != nil {
		return nil, fmt.Errorf("read go settings: %w", err)
	}
	var settings map[string]string
	if err := json.Unmarshal([]byte(out), &settings); err != nil {
		return nil, fmt.Errorf("read go settings: %w", err)
	}
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			g.env = append(g.env, name+"="+v)
		}
	}
	for _, name := range kept {
		if v := settings[name]; v != "" {
			g.env = append(g.env, name+"="+v)
		}
	}
	g.env = append(g.env, fixed...)
	return g, nil
}
