// Package eif reads, writes, measures, signs, checks and takes apart enclave
// image files (EIF), the format an AWS Nitro enclave boots from.
//
// An image is a 548-byte big-endian header and 2 to 32 sections, each behind a
// 12-byte header of its own: one kernel, one command line, ramdisks, and, by
// version, metadata and a signature. [Open] checks every rule of the format and
// reads headers only; [Image.Measure] and [Image.Verify] stream the sections
// once through a fixed buffer, so that an image of any size needs the same
// memory.
//
// The rules are those of AWS's specification (the README of
// aws-nitro-enclaves-image-format, dated 2024-06-21), which the Nitro
// hypervisor enforces and QEMU's loader partly does not. Where the
// specification is silent and two readers could understand a file differently
// (bytes between sections, bytes after the last one, two signatures), the file
// is refused; README.md lists these.
//
// Everything read from an image is taken as hostile: sizes are checked before
// use, what is loaded into memory is bounded, and nothing but the measurement
// vouches for it. The metadata section in particular is covered by no PCR.
package eif
