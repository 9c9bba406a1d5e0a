// Package files copies single files into and out of a guest, over any stream. Both
// ends are here: [Serve] for the guest's agent, [Put] and [Get] for whoever is
// connected to it. The agent has it as the SSH subsystem [Subsystem].
//
// # Wire form
//
// Frames: a length of four bytes, big endian, and as many bytes, at most
// [maxFrame]. Data ends with a frame of length 0. Requests and results are JSON.
//
//	put   client {"op":"put","path":"/x","mode":420} data...    guest result
//	get   client {"op":"get","path":"/x"}                       guest result data... result
//
// A result is {} or {"op":"open","errno":2,"text":"no such file or directory"}. The
// first one of get has the file's mode. A put that fails early gives its result
// before the data has ended, and takes no more.
package files

// Subsystem is the name of the protocol as an SSH subsystem.
const Subsystem = "nitrolab-file"

const (
	maxFrame = 32 << 10
	maxPath  = 4095 // PATH_MAX without its zero
	maxText  = 1 << 10
)
