// Package inference is the application of the confidential inference sample: an
// enclave that runs a model with weights that only it may read.
//
// The weights come from the parent, encrypted (package sealed), together with the
// credentials of the parent's role (package provision). The data key that opens them
// comes from the key service, which gives it to an enclave with the right
// measurements only, sealed to a key that never leaves the enclave (package
// kmsclient). Prompts come from clients over attested channels (packages channel and
// completion), so that neither the parent nor the operator reads them.
//
// What the image holds is measured: the region, the key, the encryption context and
// the certificate authority of the key service. What the parent says is not believed.
//
// The parent can withhold everything, and it can choose between files that the owner
// of the key made for this context: an old file opens as well as the newest. An owner
// who cares changes the context, and with it the image.
package inference
