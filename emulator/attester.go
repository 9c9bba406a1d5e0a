package emulator

import (
	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// attester joins the security module, which knows registers, with the
// authority, which knows certificates.
type attester struct {
	issuer   *attestation.Issuer
	encoding attestation.Encoding
}

var _ nsm.Attester = attester{}

// Document implements [nsm.Attester].
func (a attester) Document(c nsm.Claims) ([]byte, error) {
	pcrs := make(map[uint][]byte, len(c.PCRs))
	for i, v := range c.PCRs {
		pcrs[uint(i)] = v[:]
	}
	return a.issuer.Document(attestation.Claims{
		PCRs:      pcrs,
		UserData:  c.UserData,
		Nonce:     c.Nonce,
		PublicKey: c.PublicKey,
		Encoding:  a.encoding,
	})
}
