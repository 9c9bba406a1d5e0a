package qemu

// rdtsc reads the time stamp counter after all earlier instructions.
func rdtsc() uint64

func measureTSC() (int, error) { return countTicks(rdtsc), nil }
