package vectors

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
)

func base64Of(b []byte) []byte { return base64.StdEncoding.AppendEncode(nil, b) }
func hexOf(b []byte) []byte    { return hex.AppendEncode(nil, b) }

// jsonDocument is what a debugging tool prints of a document. It is signed by
// nobody.
func jsonDocument(k *kitchen) []byte {
	pcrs := make(map[uint]Hex)
	for i, v := range productionPCRs(k.keyring) {
		pcrs[i] = v
	}
	return must(json.Marshal(map[string]any{
		keyModuleID: moduleID, keyDigest: "SHA384", keyTimestamp: k.reference.UnixMilli(), keyPCRs: pcrs,
		keyNonce: Hex(goodNonce(k.keyring)),
	}))
}

// sortFields puts fields in the order of RFC 8949 section 4.2.1: by their
// encoded keys.
func sortFields(fields []pair) {
	slices.SortFunc(fields, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
}
