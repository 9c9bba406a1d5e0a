package nsm_test

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// benchRequests are what guests ask most often.
var benchRequests = []wire.Request{
	wire.DescribePCR{Index: 0},
	wire.GetRandom{},
	wire.ExtendPCR{Index: 16, Data: make([]byte, 48)},
	wire.DescribeNSM{},
}

func BenchmarkHandle(b *testing.B) {
	for _, r := range benchRequests {
		b.Run(r.Name(), func(b *testing.B) {
			d := newDevice(b)
			req, err := wire.AppendRequest(nil, r)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				d.Handle(req)
			}
		})
	}
}

// BenchmarkQueue is a request from the ring to the ring, interrupt included.
func BenchmarkQueue(b *testing.B) {
	for _, r := range benchRequests {
		b.Run(r.Name(), func(b *testing.B) {
			d := newDevice(b)
			drv := start(b, d, 64, virtiotest.Features(modern))
			req, err := wire.AppendRequest(nil, r)
			if err != nil {
				b.Fatal(err)
			}
			out, in := drv.Prepare([][]byte{req}, nil), drv.Prepare(nil, []int{wire.MaxResponse})
			b.ReportAllocs()
			for b.Loop() {
				drv.Expose(out)
				drv.Expose(in)
				if err := d.HandleQueue(0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
