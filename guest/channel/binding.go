package channel

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
)

const (
	protocol  = "nitrolab-channel/1" // ALPN
	nonceSize = 32

	// label and size of the exporter value of RFC 9266 section 2.
	exporterLabel = "EXPORTER-Channel-Binding"
	exporterSize  = 32

	// bindingLabel tells user_data of this protocol from any other.
	bindingLabel = "nitrolab attested channel, version 1\x00"
)

// binding is the user_data of a document for the session in state s.
func binding(s tls.ConnectionState) ([]byte, error) {
	value, err := s.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return nil, fmt.Errorf("exporter value of the session: %w", err)
	}
	sum := sha256.Sum256(append([]byte(bindingLabel), value...))
	return sum[:], nil
}
