package virtio

// Feature bits that belong to the ring or the transport, virtio 1.2 section 6.
// A device model never sets them in [Device.Features].
const (
	// FeatureIndirectDesc lets a descriptor refer to a table of descriptors.
	FeatureIndirectDesc uint64 = 1 << 28

	// FeatureEventIdx replaces the interrupt and notification flags by
	// thresholds (used_event, avail_event).
	FeatureEventIdx uint64 = 1 << 29

	// FeatureVersion1 tells a modern driver from a legacy one. The split ring
	// is the same for both: little-endian, addresses given by the transport.
	FeatureVersion1 uint64 = 1 << 32
)
