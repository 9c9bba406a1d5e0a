package vectors

// Where rules are written down. What a review or an issue found stands beside
// the case.
const (
	specDocument = "nsm-api docs/attestation_process.md section 2.2"
	specCOSE     = "nsm-api docs/attestation_process.md section 3.1"
	specFields   = "nsm-api docs/attestation_process.md section 3.2.2.1"
	specContent  = "nsm-api docs/attestation_process.md section 3.2.2.2"
	specOrder    = "nsm-api docs/attestation_process.md section 3.2.3"
	specValidity = "nsm-api docs/attestation_process.md section 3.2.3.1"
	specLengths  = "nsm-api docs/attestation_process.md section 3.2.3.2"
	specUsage    = "nsm-api docs/attestation_process.md section 3.2.3.3"
	specNoCRL    = "nsm-api docs/attestation_process.md section 3.2.4"

	rfcSign1     = "RFC 9052 section 4.2"
	rfcHeaders   = "RFC 9052 section 3"
	rfcCrit      = "RFC 9052 section 3.1"
	rfcSigned    = "RFC 9052 section 4.4"
	rfcECDSA     = "RFC 9053 section 2.1"
	rfcCBOR      = "RFC 8949 section 3"
	rfcCBORMap   = "RFC 8949 section 5.6"
	rfcPath      = "RFC 5280 section 6.1"
	rfcCert      = "RFC 5280 section 4.1"
	rfcExtension = "RFC 5280 section 4.2"
	rfcEC        = "RFC 5480 section 2"
	der          = "X.690 section 10"
)
