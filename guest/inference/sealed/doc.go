// Package sealed is a file of model weights that only the holder of its data key
// can read. The file carries that key, encrypted by a key service, so that it can
// be kept by anyone: in storage, or by the parent of the enclave that will ask the
// service for the key.
//
// All integers are big-endian:
//
//	8 bytes   magic, the last of which is the version
//	4         length of the header
//	n         header
//	rest      chunks
//
// The header has a salt of 32 bytes, and then, each after two bytes of length,
// name, key id, wrapped key and the encryption context, whose names and values
// stand one by one, sorted by name, with their own two bytes of length.
//
// The plaintext is cut into chunks of 64 KiB, of which the last is shorter or as
// long and alone may be empty, if it is the only one. Each is sealed by
// AES-256-GCM. The key is HKDF-SHA-256 of the data key with the salt, so that a
// data key may seal several files. The nonce is the number of the chunk in 11
// bytes and one byte that is 1 for the last and 0 else: the STREAM construction
// (Hoang, Reyhanitabar, Rogaway, Vizár 2015), by which chunks cannot be left out,
// added, or change places. The additional data of every chunk is the SHA-256 of
// all that comes before the first: a file whose name, key id, wrapped key or
// context was changed does not open.
package sealed
