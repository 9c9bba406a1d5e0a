// Package keys is the engine of the emulated AWS Key Management Service: it makes
// keys, keeps them, and encrypts, signs and derives with them. It knows neither HTTP
// nor principals; package emulator/kms puts both around it.
//
// A [Ring] holds the keys of one account in one region. What it tells of a key is a
// [Key], which never changes and holds no key material; the material stays in the
// ring. Operations name a key by Key.ID only, so that whoever checks a caller's
// permission on a Key then uses that same key, wherever its aliases point meanwhile.
//
//	ring, err := keys.New(keys.Config{Region: "us-east-1", Account: "111122223333"})
//	key, err := ring.Create(keys.Description{})
//	data, err := ring.GenerateDataKey(key.ID, 32, map[string]string{"model": "llama"})
//	key, err = ring.CiphertextKey(data.Blob)
//	plain, err := ring.Decrypt(key.ID, keys.SymmetricDefault, data.Blob, map[string]string{"model": "llama"})
//
// # What is as in AWS KMS, and what is not
//
// Names, limits, key states, the waiting period of deletion, rotation with old
// material kept, canonical encryption context, algorithms and their encodings are
// those of the KMS API reference and of the developer guide, as far as these say.
// RSA and NIST curve keys, symmetric keys and HMAC keys can be made; ECC_SECG_P256K1,
// Ed25519, SM2, ML-DSA and ML-KEM, imported material, multi-Region keys, custom key
// stores and grants cannot.
//
// A symmetric ciphertext begins as those of AWS do (base64 AQICAH) and is otherwise
// this package's own: no one outside AWS can open theirs, and AWS cannot open ours.
//
// # Persistence
//
// With Config.Path the ring lives in a bbolt file of mode 0600, which every change
// reaches before the call returns; without it, in memory. The file holds the key
// material in the clear. It is an emulator's: nothing of value belongs into it, and
// pages of the file may still hold the material of a key that is deleted.
package keys
