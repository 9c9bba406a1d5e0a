package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator"
)

func open(t *testing.T, base string) *claims {
	t.Helper()
	c, err := openClaims(base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// Each holder stands for one supervisor.
func TestClaimCID(t *testing.T) {
	base := t.TempDir()
	a, b, c := open(t, base), open(t, base), open(t, base)
	claim := func(c *claims, wanted uint32) uint32 {
		t.Helper()
		cid, err := c.cid(wanted)
		if err != nil {
			t.Fatal(err)
		}
		return cid
	}
	got := []uint32{claim(a, 0), claim(b, 0), claim(c, 18)}
	d := open(t, base)
	got = append(got, claim(d, 0), claim(open(t, base), 4294967294))
	b.close()
	got = append(got, claim(open(t, base), 0)) // the one that is free again
	if diff := cmp.Diff([]uint32{16, 17, 18, 19, 4294967294, 17}, got); diff != "" {
		t.Errorf("CIDs (-want +got):\n%s", diff)
	}
	_, err := open(t, base).cid(18)
	var request *emulator.RequestError
	if !errors.As(err, &request) || !strings.HasPrefix(err.Error(), "enclave CID is 18, which another enclave of yours has") {
		t.Errorf("claim of a CID that is taken: %v", err)
	}
	if cid, err := open(t, t.TempDir()).cid(0); cid != 16 || err != nil {
		t.Errorf("in another base directory: %d, %v", cid, err)
	}
}

func TestClaimName(t *testing.T) {
	base := t.TempDir()
	var got []string
	for _, wanted := range []string{"app", "app", "app", "other", "", ""} {
		name, err := open(t, base).nextName(wanted)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	if diff := cmp.Diff([]string{"app", "app_1", "app_2", "other", "", "_1"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	// A name is no CID.
	if cid, err := open(t, base).cid(0); cid != 16 || err != nil {
		t.Errorf("CID %d, %v", cid, err)
	}
	if at := nameByte("app"); at < 1<<32 {
		t.Errorf("the byte of a name is %d, that of a CID", at)
	}
}

func TestClaimExactName(t *testing.T) {
	base := t.TempDir()
	if err := open(t, base).exactName("web"); err != nil {
		t.Fatal(err)
	}
	holder := open(t, base)
	if err := holder.exactName("other"); err != nil {
		t.Fatal(err)
	}
	err := open(t, base).exactName("web")
	var request *emulator.RequestError
	if !errors.As(err, &request) {
		t.Errorf("a name that is taken: %v", err)
	}
	// Instances and enclaves share names.
	if name, err := open(t, base).nextName("web"); name != "web_1" || err != nil {
		t.Errorf("name %q, %v", name, err)
	}
	holder.close()
	if err := open(t, base).exactName("other"); err != nil {
		t.Errorf("a name that is free again: %v", err)
	}
}

// No two of many at once get the same.
func TestClaimConcurrently(t *testing.T) {
	base := t.TempDir()
	const n = 50
	cids, names := make([]uint32, n), make([]string, n)
	held := make([]*claims, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c, err := openClaims(base)
			if err != nil {
				t.Error(err)
				return
			}
			held[i] = c
			if cids[i], err = c.cid(0); err != nil {
				t.Error(err)
			}
			if names[i], err = c.nextName("x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, c := range held {
		c.close()
	}
	slices.Sort(cids)
	slices.Sort(names)
	if cids[0] != 16 || len(slices.Compact(cids)) != n || len(slices.Compact(names)) != n {
		t.Errorf("CIDs %v, names %q", cids, names)
	}
	if cid, err := open(t, base).cid(0); cid != 16 || err != nil {
		t.Errorf("after all of them: %d, %v", cid, err)
	}
}

func TestClaimsFileInTheWay(t *testing.T) {
	base := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(base, claimsName)); err != nil {
		t.Fatal(err)
	}
	if _, err := openClaims(base); err == nil {
		t.Error("a symbolic link was followed")
	}
}
