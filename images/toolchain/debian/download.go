package debian

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Download fetches those of the packages that are not in Config.Debs yet, and
// checks all of them. Of a package that an earlier run left half done only the
// rest is fetched, where the mirror speaks HTTP and knows ranges.
//
// progress, which may be nil, is called with the bytes fetched so far and those
// to fetch in all; not at all if everything is there.
func (a *Archive) Download(ctx context.Context, ps []Package, progress func(done, total int64)) error {
	todo, err := a.missing(ctx, ps)
	if err != nil || len(todo) == 0 {
		return err
	}
	var total int64
	for _, p := range todo {
		total += p.Size
	}
	// apt's own percentage does not know the sizes ahead; the files do.
	report := func(float64) float64 {
		done := total - a.Missing(todo)
		if progress != nil {
			progress(done, total)
		}
		return float64(done)
	}
	report(0)
	if err := a.fetch(ctx, todo, report); err != nil {
		return err
	}
	report(100)
	for _, p := range todo {
		if err := Check(ctx, a.cfg.Debs, p); err != nil {
			return err
		}
	}
	return nil
}

// missing gives the packages that are not there whole, and removes files that
// are no first part of theirs.
func (a *Archive) missing(ctx context.Context, ps []Package) ([]Package, error) {
	var todo []Package
	for _, p := range ps {
		err := Check(ctx, a.cfg.Debs, p)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, err
		}
		todo = append(todo, p)
		name := filepath.Join(a.cfg.Debs, p.Filename)
		if info, err := os.Lstat(name); err == nil && (info.Size() >= p.Size || !info.Mode().IsRegular()) {
			if err := os.RemoveAll(name); err != nil {
				return nil, fmt.Errorf("fetch packages: %w", err)
			}
		}
	}
	return todo, nil
}

// fetch fetches all of ps.
//
// "apt-get download" removes a file that is not whole before it begins.
// "apt-helper download-file", which is given the address and the hash that
// apt-get prints, goes on with it, but is for plain addresses only: not, say, for
// those that name a list of mirrors.
func (a *Archive) fetch(ctx context.Context, ps []Package, report func(float64) float64) error {
	specs := []string{"-q"}
	for _, p := range ps {
		specs = append(specs, p.Name+"="+p.Version)
	}
	if a.helper() == "" {
		_, err := a.tool(ctx, report, a.cfg.Debs, "apt-get", append([]string{"download"}, specs...)...)
		return err
	}
	out, err := a.tool(ctx, nil, "", "apt-get", append([]string{"download", "--print-uris"}, specs...)...)
	if err != nil {
		return err
	}
	uris := parseURIs(out)
	args := []string{"download-file"}
	for _, p := range ps {
		uri, ok := uris[p.Filename]
		if !ok {
			return fmt.Errorf("fetch package %s: apt gives no address: %w", p.Name, ErrNotThere)
		}
		args = append(args, uri, p.Filename, "SHA256:"+p.SHA256)
	}
	_, err = a.tool(ctx, report, a.cfg.Debs, a.helper(), args...)
	return err
}

// helper gives the path of apt-helper where it can be used, else nothing.
func (a *Archive) helper() string {
	switch scheme(a.cfg.Mirror) {
	case "http", "https":
	default:
		return ""
	}
	if u, err := url.Parse(a.cfg.Mirror); err != nil || u.User != nil || a.cfg.Host == nil {
		return "" // a password must not get into a command line, which anybody can read
	}
	return a.cfg.Host.helper
}

// parseURIs reads what --print-uris prints, 'URI' file size hash on each line,
// and gives the URIs by file.
func parseURIs(out []byte) map[string]string {
	uris := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) >= 3 && len(f[0]) > 2 && f[0][0] == '\'' {
			uris[f[1]] = strings.Trim(f[0], "'")
		}
	}
	return uris
}

// Missing adds up the bytes that Download would fetch, going by names and sizes
// only.
func (a *Archive) Missing(ps []Package) (n int64) {
	for _, p := range ps {
		n += p.Size
		if info, err := os.Lstat(filepath.Join(a.cfg.Debs, p.Filename)); err == nil && info.Size() <= p.Size {
			n -= info.Size()
		}
	}
	return n
}

// Check makes sure that debs holds the package p whole. It gives [ErrNotThere]
// for a file that is not there and [ErrDamaged] for one of another size or hash.
func Check(ctx context.Context, debs string, p Package) error {
	fail := func(err error) error { return fmt.Errorf("check package %s: %w", p.Filename, err) }
	f, err := os.Open(filepath.Join(debs, p.Filename))
	if errors.Is(err, fs.ErrNotExist) {
		return fail(ErrNotThere)
	}
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if info.Size() != p.Size {
		return fail(fmt.Errorf("%d bytes where %d are stated: %w", info.Size(), p.Size, ErrDamaged))
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, &contextReader{ctx, f}); err != nil {
		return fail(err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != p.SHA256 {
		return fail(fmt.Errorf("its hash is not the one stated: %w", ErrDamaged))
	}
	return nil
}

// A contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
