package keys_test

import (
	"fmt"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// A data key encrypts the weights; the ring opens it only with the same encryption
// context.
func Example() {
	ring, err := keys.New(keys.Config{Region: "us-east-1", Account: "111122223333"})
	if err != nil {
		panic(err)
	}
	defer ring.Close()
	key, err := ring.Create(keys.Description{Description: "weights"})
	if err != nil {
		panic(err)
	}
	context := map[string]string{"model": "llama"}
	data, err := ring.GenerateDataKey(key.ID, 32, context)
	if err != nil {
		panic(err)
	}
	named, err := ring.CiphertextKey(data.Blob)
	if err != nil {
		panic(err)
	}
	plain, err := ring.Decrypt(named.ID, keys.SymmetricDefault, data.Blob, context)
	fmt.Println(plain.Plaintext, err)
	_, err = ring.Decrypt(named.ID, keys.SymmetricDefault, data.Blob, map[string]string{"model": "other"})
	fmt.Println(err)
	// Output:
	// [redacted 32 bytes] <nil>
	// InvalidCiphertextException
}
