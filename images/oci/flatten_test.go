package oci_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/oci"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// flattenTest has layers and what they flatten to, as "path" or "path=body",
// or the error.
var flattenTests = []struct {
	name   string
	layers [][]entry
	want   string // the names
	err    string
	is     error
	// strange marks images that mutate.Extract gets wrong, so that it cannot
	// be the reference.
	strange bool
}{
	{name: "no layers", want: ""},
	{name: "empty layer", layers: [][]entry{{}}, want: ""},
	{name: "one layer", layers: [][]entry{{d("a"), f("a/b", "1")}}, want: "a a/b"},
	{name: "override", layers: [][]entry{{f("a", "1")}, {f("a", "2")}}, want: "a=2"},
	{name: "names are cleaned", layers: [][]entry{{f("./a", "1"), d("b/"), f("/c", "2")}}, want: "a b c", strange: true},
	{name: "whiteout", layers: [][]entry{{d("a"), f("a/b", "1"), f("c", "2")}, {f("a/.wh.b", "")}}, want: "a c"},
	{name: "whiteout of a directory", layers: [][]entry{{d("a"), f("a/b", "1")}, {f(".wh.a", "")}}, want: ""},
	{name: "whiteout of nothing", layers: [][]entry{{f("a", "1")}, {f(".wh.b", ""), f("x/.wh.y", "")}}, want: "a"},
	{name: "opaque", layers: [][]entry{{d("a"), f("a/b", "1")}, {d("a"), f("a/.wh..wh..opq", ""), f("a/c", "2")}}, want: "a a/c"},
	{name: "opaque after its own files", layers: [][]entry{{d("a"), f("a/b", "1")}, {f("a/b", "2"), f("a/.wh..wh..opq", "")}}, want: "a a/b=2"},
	{name: "file over directory", layers: [][]entry{{d("a"), f("a/b", "1")}, {f("a", "2")}}, want: "a=2"},
	{name: "aufs leftovers", layers: [][]entry{{f(".wh..wh.aufs", ""), d(".wh..wh.plnk"), f(".wh..wh.plnk/1.2", "x"), f("a", "1")}}, want: "a", strange: true},

	{name: "whiteout and again in one layer", layers: [][]entry{{f("a", "1")}, {f(".wh.a", ""), f("a", "2")}}, want: "a=2", strange: true},
	{name: "relative link above the root", layers: [][]entry{{l("a", "../../b"), f("b", "1")}}, want: "a b", strange: true},
	{name: "parent is a link", layers: [][]entry{{d("usr"), d("usr/bin"), l("bin", "usr/bin")}, {f("bin/app", "1")}}, want: "bin usr usr/bin usr/bin/app", strange: true},

	{name: "hard link", layers: [][]entry{{f("a", "1"), hl("b", "a")}}, want: "a=1 b=1", strange: true},
	{name: "hard link across layers", layers: [][]entry{{f("a", "1")}, {hl("b", "/a"), f(".wh.a", "")}}, want: "b=1", strange: true},
	{name: "hard link to nothing", layers: [][]entry{{hl("b", "a")}}, err: `oci: layer 0: entry "b": target "a" of the hard link: no such file in the root filesystem`, is: rootfs.ErrNotFound},
	{name: "hard link out", layers: [][]entry{{hl("b", "../../etc/passwd")}}, err: `".."`, is: rootfs.ErrDotDot},

	{name: "dot dot", layers: [][]entry{{f("ok", "1")}, {f("../../etc/passwd", "1")}}, err: `oci: layer 1: entry "../../etc/passwd": name has a ".."`, is: rootfs.ErrDotDot},
	{name: "dot dot inside", layers: [][]entry{{f("a/../../b", "1")}}, err: `".."`, is: rootfs.ErrDotDot},
	{name: "dot dot whiteout", layers: [][]entry{{f("../.wh.b", "")}}, err: `".."`, is: rootfs.ErrDotDot},
	{name: "whiteout of dot dot", layers: [][]entry{{f("a/.wh...", "")}}, err: "whiteout of no file"},
	{name: "whiteout of no name", layers: [][]entry{{f(".wh.", "")}}, err: "whiteout of no file"},
	{name: "absolute name", layers: [][]entry{{f("/etc/passwd", "1")}}, want: "etc etc/passwd", strange: true},
	{name: "through an absolute link", layers: [][]entry{{l("x", "/etc"), f("x/passwd", "1")}}, want: "etc etc/passwd x", strange: true},
	{name: "through a link that goes up", layers: [][]entry{{l("x", "../../../../etc"), f("x/passwd", "1")}}, want: "etc etc/passwd x", strange: true},
	{name: "links in a circle", layers: [][]entry{{l("x", "y"), l("y", "x"), f("x/a", "1")}}, err: "too many symbolic links", is: rootfs.ErrLoop},
	{name: "below a file", layers: [][]entry{{f("a", "1"), f("a/b", "2")}}, err: "a parent is not a directory", is: rootfs.ErrNotDirectory},
	{name: "unknown type", layers: [][]entry{{{name: "x", typ: 'Z'}}}, err: "tar entry type is 'Z'"},
	{name: "global header", layers: [][]entry{{{typ: tar.TypeXGlobalHeader, pax: map[string]string{"comment": "x"}}, f("a", "1")}}, want: "a", strange: true},
	{name: "long component", layers: [][]entry{{f(strings.Repeat("a", 256), "")}}, err: "component of 256 bytes"},
	{name: "owner beyond 32 bits", layers: [][]entry{{{name: "a", uid: 1 << 33}}}, err: "owner is 8589934592"},
}

func TestFlatten(t *testing.T) {
	for _, tt := range flattenTests {
		t.Run(tt.name, func(t *testing.T) {
			img := imageOf(t, tt.layers...)
			got, _, err := flatten(t, layoutDir(t, img), amd64)
			if tt.err != "" {
				var le *oci.LayerError
				if !errors.As(err, &le) || !strings.Contains(err.Error(), tt.err) || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error %v, want a LayerError with %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := tt.want; strings.Contains(want, "=") {
				var have []string
				for _, s := range got {
					have = append(have, strings.ReplaceAll(strings.SplitN(s, " ", 3)[2], " ", ""))
				}
				if diff := cmp.Diff(want, strings.Join(have, " ")); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			} else if diff := cmp.Diff(want, paths(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !tt.strange {
				if diff := cmp.Diff(extract(t, img), got); diff != "" {
					t.Errorf("go-containerregistry's mutate.Extract disagrees (-it +got):\n%s", diff)
				}
			}
		})
	}
}

// extract is what go-containerregistry makes of an image.
func extract(t *testing.T, img v1.Image) []string {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	tree := rootfs.New(rootfs.Limits{})
	tr := tar.NewReader(r)
	var files []cpio.Record
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		e := cpio.StaticRecord(b, cpio.Info{Name: h.Name, Mode: uint64(h.Mode)})
		switch h.Typeflag {
		case tar.TypeDir:
			e.Mode |= cpio.S_IFDIR
		case tar.TypeReg:
			e.Mode |= cpio.S_IFREG
		default:
			t.Fatalf("type %c", h.Typeflag)
		}
		files = append(files, e)
	}
	slices.SortFunc(files, func(a, b cpio.Record) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range files {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return list(t, tree)
}

// TestFlattenMetadata keeps what a root filesystem needs.
func TestFlattenMetadata(t *testing.T) {
	img := imageOf(t, []entry{
		{name: "./", typ: tar.TypeDir, mode: 0o711, uid: 3},
		{name: "bin/su", body: "su", mode: 0o4755, uid: 0, gid: 5},
		{name: "tmp", typ: tar.TypeDir, mode: 0o1777},
		{name: "dev/mem", typ: tar.TypeChar, mode: 0o640, gid: 15, major: 1, minor: 1},
		{name: "dev/sda", typ: tar.TypeBlock, mode: 0o660, major: 8},
		{name: "run/pipe", typ: tar.TypeFifo, mode: 0o600},
		{name: "home/u", typ: tar.TypeDir, mode: 0o700, uid: 1000, gid: 1000},
		{name: "lib", typ: tar.TypeSymlink, link: "usr/lib", uid: 7},
		{name: "bin/ping", body: "ping", mode: 0o755, pax: map[string]string{"SCHILY.xattr.security.capability": "\x01", "SCHILY.xattr.user.a": "b"}},
	})
	got, lost, err := flatten(t, layoutDir(t, img), amd64)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"40755 0:0 bin",
		"100755 0:0 bin/ping = ping",
		"104755 0:5 bin/su = su",
		"40755 0:0 dev",
		"20640 0:15 dev/mem dev 1,1",
		"60660 0:0 dev/sda dev 8,0",
		"40755 0:0 home",
		"40700 1000:1000 home/u",
		"120777 7:0 lib -> usr/lib",
		"40755 0:0 run",
		"10600 0:0 run/pipe",
		"41777 0:0 tmp",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantLost := []string{`1 files have extended attributes, which an initramfs cannot hold: security.capability of "bin/ping" and others`}
	if diff := cmp.Diff(wantLost, lost); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
}

func TestCompressions(t *testing.T) {
	b := tarOf(t, f("a", "1"))
	for _, c := range []compression.Compression{compression.GZip, compression.ZStd} {
		img := withConfig(t, empty.Image, "amd64", v1.Config{})
		img = appendLayer(t, img, layerOf(t, b, tarball.WithCompression(c)))
		got, _, err := flatten(t, layoutDir(t, img), amd64)
		if err != nil || paths(got) != "a" {
			t.Errorf("%s: %v, %v", c, got, err)
		}
	}
}

// rawImage makes an image whose layer is b as it is, and claims the layer
// unpacks to what claimed is.
func rawImage(t *testing.T, b, claimed []byte) v1.Image {
	t.Helper()
	return appendLayer(t, withConfig(t, empty.Image, "amd64", v1.Config{}), rawLayer{layerOf(t, claimed), b})
}

type rawLayer struct {
	v1.Layer
	b []byte
}

func (r rawLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r.b)), nil
}
func (r rawLayer) Size() (int64, error)                { return int64(len(r.b)), nil }
func (r rawLayer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }
func (r rawLayer) Digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(r.b))
	return h, err
}

func TestDamagedLayers(t *testing.T) {
	good := tarOf(t, f("a", strings.Repeat("1", 2000)))
	other := append([]byte(nil), good...)
	other[600] ^= 1
	tests := []struct {
		name  string
		layer []byte
		want  string // "" for good
	}{
		{"plain", good, ""},
		{"changed content", other, "content has the digest"},
		{"bytes behind the end", append(append([]byte(nil), good...), 1), "content has the digest"},
		{"cut off", good[:1000], "unexpected EOF"},
		{"rubbish", bytes.Repeat([]byte("x"), 1024), "invalid tar header"},
		{"rubbish that begins like gzip", append([]byte{0x1f, 0x8b}, good...), "gzip: invalid header"},
		{"rubbish that begins like zstd", append([]byte("\x28\xb5\x2f\xfd"), good...), "layer 0"},
		{"empty file", nil, "content has the digest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := flatten(t, layoutDir(t, rawImage(t, tt.layer, good)), amd64)
			if tt.want == "" {
				if err != nil || paths(got) != "a" {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			var le *oci.LayerError
			if !errors.As(err, &le) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want a LayerError with %q", err, tt.want)
			}
		})
	}
}

// TestBombs have layers that expand without end.
func TestBombs(t *testing.T) {
	zeros := strings.Repeat("\x00", 4<<20)
	big := imageOf(t, []entry{f("a", zeros)}, []entry{f("b", zeros)})
	if _, _, err := flatten(t, layoutDir(t, big), oci.Options{Architecture: "amd64", Limits: rootfs.Limits{Bytes: 6 << 20}}); !errors.Is(err, rootfs.ErrTooMany) {
		t.Errorf("bytes: error %v", err)
	}
	many := imageOf(t, []entry{f("a", ""), f("b", ""), f("c", "")})
	if _, _, err := flatten(t, layoutDir(t, many), oci.Options{Architecture: "amd64", Limits: rootfs.Limits{Entries: 2}}); !errors.Is(err, rootfs.ErrTooMany) {
		t.Errorf("entries: error %v", err)
	}
	// An old GNU sparse file of 8 GiB in a few hundred bytes.
	if _, _, err := flatten(t, layoutDir(t, rawImage(t, sparseTar(8<<30), sparseTar(8<<30))), amd64); err == nil || !strings.Contains(err.Error(), "allowed are at most 4294967295") {
		t.Errorf("sparse: error %v", err)
	}
	limited := oci.Options{Architecture: "amd64", Limits: rootfs.Limits{Bytes: 1 << 20}}
	if _, _, err := flatten(t, layoutDir(t, rawImage(t, sparseTar(3<<30), sparseTar(3<<30))), limited); !errors.Is(err, rootfs.ErrTooMany) {
		t.Errorf("smaller sparse: error %v", err)
	}
}

// sparseTar is a tar with one old GNU sparse file without any data: type 'S',
// real size in the field at 483.
func sparseTar(size int64) []byte {
	b := make([]byte, 512)
	copy(b, "sparse")
	copy(b[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00")
	b[156] = 'S'
	copy(b[257:], "ustar  \x00")
	// One empty fragment at the end of the file.
	octal := func(at []byte, v int64) {
		at[0] = 0x80 // base 256
		for i := range 8 {
			at[11-i] = byte(v >> (8 * i))
		}
	}
	octal(b[386:398], size)
	octal(b[398:410], 0)
	octal(b[483:495], size)
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	const digits = "01234567"
	for i := range 6 {
		b[148+5-i] = digits[sum>>(3*i)&7]
	}
	b[154] = 0
	return append(b, make([]byte, 1024)...)
}

// TestFlattenStreams flattens a file of 64 MiB.
func TestFlattenStreams(t *testing.T) {
	img := imageOf(t, []entry{f("a", strings.Repeat("\x00", 64<<20))})
	dir := layoutDir(t, img)
	spool, err := rootfs.NewSpool(t.TempDir(), rootfs.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	im, err := oci.Open(context.Background(), dir, amd64)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	if _, _, err := im.Flatten(context.Background(), spool); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("allocated %d bytes", n)
	}
}

func TestFlattenCancelled(t *testing.T) {
	dir := layoutDir(t, imageOf(t, []entry{f("a", "1")}))
	im, err := oci.Open(context.Background(), dir, amd64)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	spool, err := rootfs.NewSpool(t.TempDir(), rootfs.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	if _, _, err := im.Flatten(ctx, spool); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// FuzzOCI flattens an image with a fuzzed layer: no panic, no escape, and what
// comes out can be written.
func FuzzOCI(f *testing.F) {
	for _, tt := range flattenTests {
		for _, entries := range tt.layers {
			f.Add(tarOf(f, entries...))
		}
	}
	f.Add(sparseTar(1 << 40))
	lower := tarOf(f, d("usr/bin"), l("bin", "usr/bin"), entry{name: "usr/bin/app", body: "1"})
	f.Fuzz(func(t *testing.T, upper []byte) {
		if len(upper) > 1<<16 {
			return
		}
		dir := t.TempDir()
		writeImage(t, dir, lower, upper)
		o := oci.Options{Architecture: "amd64", TempDir: dir, Limits: rootfs.Limits{Bytes: 1 << 20, Entries: 1000}}
		im, err := oci.Open(context.Background(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer im.Close()
		spool, err := rootfs.NewSpool(dir, o.Limits)
		if err != nil {
			t.Fatal(err)
		}
		defer spool.Close()
		tree, _, err := im.Flatten(context.Background(), spool)
		if err != nil {
			var le *oci.LayerError
			if !errors.As(err, &le) {
				t.Fatalf("error %v is no LayerError", err)
			}
			return
		}
		if err := initramfs.Write(io.Discard, tree.Records("rootfs")); err != nil {
			t.Fatal(err)
		}
	})
}

// writeImage writes a docker archive as a directory, quickly: plain layers, no
// library.
func writeImage(t testing.TB, dir string, layers ...[]byte) {
	t.Helper()
	put := func(name string, b []byte) {
		if err := os.WriteFile(dir+"/"+name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var names, diffs []string
	for i, b := range layers {
		name := string(rune('a'+i)) + ".tar"
		put(name, b)
		h, _, err := v1.SHA256(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		names, diffs = append(names, `"`+name+`"`), append(diffs, `"`+h.String()+`"`)
	}
	put("manifest.json", []byte(`[{"Config":"c","Layers":[`+strings.Join(names, ",")+`]}]`))
	put("c", []byte(`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[`+strings.Join(diffs, ",")+`]}}`))
}
