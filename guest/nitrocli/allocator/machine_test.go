package allocator

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A machine is a fake kernel: files in a directory, with what writing to them
// does.
type machine struct {
	t    *testing.T
	root Root
	// room is how many bytes of huge pages a node can have.
	room map[int]int64
	// compacted is how many more bytes a node has room for each time memory is
	// compacted.
	compacted int64
	// stuck is the number of pages, by path, that are in use and stay.
	stuck map[string]int64
	// fail has errors of writes, by path and content.
	fail map[string]error
	// writes are all writes that succeeded, "path content".
	writes []string
}

// newMachine has CPUs on nodes, given as lists of cores of threads:
// nodes[n][core][thread].
func newMachine(t *testing.T, nodes [][][]uint32, sizesKiB ...int) *machine {
	t.Helper()
	m := &machine{t: t, root: Root(t.TempDir()), room: map[int]int64{}, stuck: map[string]int64{}, fail: map[string]error{}}
	var online []string
	for node, cores := range nodes {
		m.room[node] = 1 << 40
		for _, threads := range cores {
			var list []string
			for _, id := range threads {
				list = append(list, strconv.Itoa(int(id)))
			}
			online = append(online, list...)
			for _, id := range threads {
				dir := fmt.Sprintf("%s/cpu%d", cpuDir, id)
				m.file(dir+"/topology/thread_siblings_list", strings.Join(list, ",")+"\n")
				m.file(fmt.Sprintf("%s/node%d/x", dir, node), "")
			}
		}
		for _, kib := range sizesKiB {
			m.file(fmt.Sprintf("/sys/devices/system/node/node%d/hugepages/hugepages-%dkB/nr_hugepages", node, kib), "0\n")
		}
		m.file(fmt.Sprintf("/sys/devices/system/node/node%d/hugepages/other/x", node), "")
	}
	m.file(cpuDir+"/online", strings.Join(online, ",")+"\n")
	m.file(PoolPath, "\n")
	return m
}

func (m *machine) file(path, content string) {
	m.t.Helper()
	path = filepath.Join(string(m.root), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) remove(path string) {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(string(m.root), path)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) ReadFile(path string) ([]byte, error)       { return m.root.ReadFile(path) }
func (m *machine) ReadDir(path string) ([]fs.DirEntry, error) { return m.root.ReadDir(path) }

func (m *machine) WriteFile(path string, data []byte) error {
	text := strings.TrimSpace(string(data))
	if err := m.fail[path+" "+text]; err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	if len(data) == 0 {
		m.t.Errorf("an empty write to %s does nothing", path)
	}
	if path == compactPath {
		for node := range m.room {
			m.room[node] += m.compacted
		}
	}
	if strings.HasSuffix(path, "/nr_hugepages") {
		data = fmt.Appendf(nil, "%d\n", m.pages(path, text))
	}
	if err := m.root.WriteFile(path, data); err != nil {
		return err
	}
	m.writes = append(m.writes, strings.TrimSpace(path[strings.LastIndex(path, "-")+1:]+" "+text))
	return nil
}

// pages is how many pages there are after somebody asked for some: as many as the
// node has room for, and at least those in use.
func (m *machine) pages(path, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		m.t.Fatalf("%s: %v", path, err)
	}
	var node int
	if _, err := fmt.Sscanf(path, "/sys/devices/system/node/node%d/", &node); err != nil {
		m.t.Fatal(err)
	}
	room := m.room[node]
	dir := filepath.Dir(filepath.Dir(path))
	entries, err := m.ReadDir(dir)
	if err != nil {
		m.t.Fatal(err)
	}
	var size int64
	for _, e := range entries {
		var kib int64
		if _, err := fmt.Sscanf(e.Name(), "hugepages-%dkB", &kib); err != nil {
			continue
		}
		other := filepath.Join(dir, e.Name(), "nr_hugepages")
		if other == path {
			size = kib << 10
			continue
		}
		room -= m.count(other) * kib << 10
	}
	return max(min(n, room/size), m.stuck[path])
}

// count reads the number of pages.
func (m *machine) count(path string) int64 {
	m.t.Helper()
	text, err := m.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// nr is the file with the number of pages of a node.
func nr(node, kib int) string {
	return fmt.Sprintf("/sys/devices/system/node/node%d/hugepages/hugepages-%dkB/nr_hugepages", node, kib)
}

func (m *machine) pool() string {
	m.t.Helper()
	text, err := m.ReadFile(PoolPath)
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
