package qemu

// measureTSC: cpu_get_host_ticks has no branch for arm64 and falls back to
// get_clock, which is in nanoseconds (include/qemu/timer.h of QEMU 11.1).
func measureTSC() (int, error) { return 1_000_000, nil }
