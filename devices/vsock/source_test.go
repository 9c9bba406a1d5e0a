package vsock

import (
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// A hostile enclave writes another's CID into its packets: as its neighbour
// towards the parent, and as the parent towards its neighbour. With the check of
// the source off both succeed, so it is the check that stops them.
func TestSourceCIDCounterProof(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   weaken.Set
		works bool
	}{
		{"protected", weaken.Set{}, false},
		{"weakened", weaken.Only(weaken.SourceCID), true},
		{"another protection off", weaken.Only(weaken.EnclaveIsolation), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parent, attacker, victim := threeGuests(t, &Config{Weaken: tt.set})
			pv, pp := victim.open(parent, 1, 9000)

			// Words in the neighbour's mouth.
			forged := attacker.conn(1, CIDParent, 9000)
			forged.h.SrcCID = 17
			forged.write([]byte("forged"))
			got := parent.recv()
			if tt.works {
				if len(got) != 1 || got[0].SrcCID != 17 || string(got[0].Data) != "forged" {
					t.Fatalf("parent got %v, want data in the victim's name", got)
				}
			} else if len(got) != 0 {
				t.Fatalf("parent got %v", got)
			}

			// A connection in the parent's name.
			request := attacker.conn(2, 17, 5000)
			request.h.SrcCID = 3
			attacker.send(request.out(OpRequest))
			if got := victim.recv(); (len(got) == 1 && got[0].SrcCID == 3 && got[0].Op == OpRequest) != tt.works {
				t.Errorf("the neighbour got %v", got)
			}

			// The end of the neighbour's connection.
			forged.send(forged.out(OpRST))
			if tt.works {
				parent.await(OpRST)
			} else {
				parent.expect()
				pv.write([]byte("alive"))
				if got := pp.collect(5); string(got) != "alive" {
					t.Errorf("parent got %q", got)
				}
			}
			attacker.expect()
			if got := attacker.dev.Stats().Spoofed; got != 3 {
				t.Errorf("%d spoofed packets counted, want 3", got)
			}
		})
	}
}

// What nobody has, nobody can claim, even without the check.
func TestSourceCIDOfNobody(t *testing.T) {
	sw := newSwitch(t, &Config{Weaken: weaken.Only(weaken.SourceCID)})
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	for _, src := range []uint64{0, 1, 2, 3, 99, 16 | 1<<32, 1<<64 - 1} {
		p := g.conn(1, CIDParent, 9000)
		p.h.SrcCID = src
		g.send(p.out(OpRequest))
	}
	g.expect()
	must(t, l.SetDeadline(time.Now()))
	if c, err := l.Accept(); err == nil {
		t.Errorf("a connection from %v", c.RemoteAddr())
	}
}
