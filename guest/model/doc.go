// Package model runs a small language model on the CPU: what the enclave of the
// confidential inference sample computes with weights that only it may read.
//
// It is a decoder-only transformer of the Llama kind: root mean square
// normalisation before each block (Zhang and Sennrich 2019), rotary positions
// (Su et al. 2021), causal attention with several heads, a gated SiLU network
// (Shazeer 2020), no biases, and one matrix for embedding and output. Its
// vocabulary is printable ASCII and the line feed. [Model.Complete] always takes
// the likeliest character, so that equal weights and prompts give equal text.
//
// The weights that belong to nitrolab are in package weights and were trained by
// package train; a [Load] of a file takes nothing for granted.
package model
