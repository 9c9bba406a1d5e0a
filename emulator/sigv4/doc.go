// Package sigv4 verifies requests that are signed with AWS Signature Version 4, as
// AWS's JSON services do (IAM user guide, "AWS Signature Version 4 for API
// requests"): in the Authorization header, over the hash of the whole body.
//
// It computes the signature anew with the signer of the AWS SDK for Go v2. What
// that signer never signs (User-Agent, X-Amzn-Trace-Id, Expect,
// Transfer-Encoding, a Content-Length of 0) a client must not sign either; the
// AWS SDKs of today do not. Paths are compared as they are sent: "/a/../" is not
// signed as "/". Signed URLs, chunk signatures and the asymmetric SigV4a are not for
// these services.
package sigv4
