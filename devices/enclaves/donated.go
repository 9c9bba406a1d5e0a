package enclaves

import (
	"slices"
	"sort"
)

// donated is the memory that slots have, in ascending order, without
// overlaps. The parent's RAM bounds it: an entry covers at least Granule
// bytes of that.
type donated []donation

type donation struct {
	Region
	owner *slot
}

// at is the place of the first donation that begins at addr or above.
func (d donated) at(addr uint64) int {
	return sort.Search(len(d), func(i int) bool { return d[i].Addr >= addr })
}

// overlaps reports whether a slot has any of r, which does not wrap around.
func (d donated) overlaps(r Region) bool {
	i := d.at(r.Addr)
	return i < len(d) && d[i].Addr-r.Addr < r.Size ||
		i > 0 && r.Addr-d[i-1].Addr < d[i-1].Size
}

// add gives r, which overlaps nothing, to owner.
func (d *donated) add(r Region, owner *slot) {
	*d = slices.Insert(*d, d.at(r.Addr), donation{r, owner})
}

// release takes everything back that owner has.
func (d *donated) release(owner *slot) {
	*d = slices.DeleteFunc(*d, func(x donation) bool { return x.owner == owner })
}
