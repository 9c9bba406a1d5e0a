package nsm

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

type noDocuments struct{}

func (noDocuments) Document(Claims) ([]byte, error) { return nil, wire.InternalError }

// Linux 6.x passes an empty request on, as a descriptor of length 0. Whether the
// ring lets it through is the ring's affair; the device answers it. A list with
// an empty segment and an empty list are the same to it.
func TestEmptyRequestInARing(t *testing.T) {
	for _, empty := range [][][]byte{{{}}, {}} {
		d, err := New(Config{ModuleID: "i-0", Attester: noDocuments{}})
		if err != nil {
			t.Fatal(err)
		}
		drv := virtiotest.New(t, 2)
		q := drv.Queue()
		d.StartQueue(0, q)
		drv.Add([][]byte{{0}}, nil)
		drv.Add(nil, []int{wire.MaxResponse})
		var c virtio.Chain
		for _, request := range []bool{true, false} {
			if ok, err := q.Pop(&c); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if request {
				c.Out = empty
			}
			if err := d.take(&c); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Notify(); err != nil {
			t.Fatal(err)
		}
		used := drv.Used()
		const want = "\xa1\x65Error\x70InvalidOperation"
		if len(used) != 2 || string(used[1].In[0]) != want {
			t.Errorf("used %+v, want a buffer with %q", used, want)
		}
		d.StopQueue(0)
	}
}
