package sigv4

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

// DefaultSkew is how far the time of a signature may be from that of the service,
// either way (IAM user guide, "Create a signed AWS API request").
const DefaultSkew = 5 * time.Minute

// A Verifier checks requests to one service in one region. It is safe for
// concurrent use if Now and Lookup are; its fields are not to be changed then.
type Verifier struct {
	Region, Service string

	// Now is the clock; nil is time.Now.
	Now func() time.Time

	// Lookup finds who holds an access key, such as [iam.Directory.Lookup]. It has
	// to find expired sessions too, for them to be called so.
	Lookup func(accessKeyID string) (iam.Identity, bool)

	// Skew is how far clocks may differ; zero means DefaultSkew.
	Skew time.Duration
}

// required have to be signed: host and date, or a request could be sent again
// elsewhere and later; and the operation, where the request names one.
var required = []struct {
	name   string
	always bool
}{
	{"host", true},
	{"x-amz-date", true},
	{"x-amz-target", false},
}

// Verify says who signed a request that a server has received, with the body that
// was read from it. It reads neither r.Body nor writes r. Every error is of type
// *Error.
func (v *Verifier) Verify(r *http.Request, body []byte) (iam.Identity, error) {
	who, err := v.verify(r, body)
	if err != nil {
		return iam.Identity{}, err
	}
	return who, nil
}

func (v *Verifier) verify(r *http.Request, body []byte) (who iam.Identity, err *Error) {
	a, err := parse(r.Header)
	if err != nil {
		return who, err
	}
	if err := a.checkHeaders(r.Header); err != nil {
		return who, err
	}
	if err := v.checkScope(a); err != nil {
		return who, err
	}
	who, known := v.Lookup(a.accessKeyID)
	token := r.Header[headerToken]
	switch {
	case !known, len(token) > 1, !sameSecret(strings.Join(token, ""), who.Token):
		return who, refuse(Unrecognized, "The security token included in the request is invalid.")
	case who.Expired(v.now()):
		return who, refuse(ExpiredToken, "The security token included in the request is expired")
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if given := r.Header[headerHash]; len(given) > 1 || len(given) == 1 && given[0] != hash {
		return who, refuse(InvalidSignature, "The value of the 'X-Amz-Content-Sha256' header is not the hash of the body.")
	}
	signature, ok := a.sign(r, hash, who)
	if !ok || !sameSecret(signature, a.signature) {
		return who, refuse(InvalidSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return who, v.checkTime(a)
}

func (v *Verifier) now() time.Time {
	if v.Now == nil {
		return time.Now()
	}
	return v.Now()
}

// checkHeaders wants what must be signed to be so.
func (a *authorization) checkHeaders(h http.Header) *Error {
	for _, need := range required {
		_, there := h[textproto.CanonicalMIMEHeaderKey(need.name)]
		if (need.always || there) && !slices.Contains(a.signedHeaders, need.name) {
			return refuse(Incomplete, fmt.Sprintf("'%s' must be a 'SignedHeader' in the AWS Authorization.", need.name))
		}
	}
	return nil
}

// checkScope compares the credential scope with the service. It comes before the
// access key is looked up, as everything that is the same for all of them.
func (v *Verifier) checkScope(a *authorization) *Error {
	day := a.at.Format("20060102")
	switch {
	case a.date != day:
		return refuse(InvalidSignature, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", a.date, day, a.at.Format(dateForm)))
	case a.region != v.Region:
		return refuse(InvalidSignature, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'.", a.region))
	case a.service != v.Service:
		return refuse(InvalidSignature, fmt.Sprintf("Credential should be scoped to correct service: '%s'.", v.Service))
	}
	return nil
}

// checkTime compares the clocks. It comes last: whoever cannot sign learns nothing
// about the service's clock.
func (v *Verifier) checkTime(a *authorization) *Error {
	skew := v.Skew
	if skew == 0 {
		skew = DefaultSkew
	}
	now := v.now().UTC()
	at, least, most := a.at.Format(dateForm), now.Add(-skew), now.Add(skew)
	minutes := skew.Minutes()
	switch {
	case a.at.Before(least.Truncate(time.Second)):
		return refuse(InvalidSignature, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %g min.)", at, least.Format(dateForm), now.Format(dateForm), minutes))
	case a.at.After(most):
		return refuse(InvalidSignature, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %g min.)", at, most.Format(dateForm), now.Format(dateForm), minutes))
	}
	return nil
}

// sign computes the signature that the request should have, over a copy with the
// signed headers alone. It is false if no client could have signed the request.
func (a *authorization) sign(r *http.Request, hash string, who iam.Identity) (string, bool) {
	// A target such as "a:b" has no path; it would be signed as "/".
	if r.URL.Opaque != "" {
		return "", false
	}
	// The signer drops pairs of a query that it cannot read; they would be let
	// through unsigned.
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return "", false
	}
	copied := &http.Request{
		Method: r.Method,
		Host:   r.Host,
		// Without a scheme no port is a default one, and the host is signed as sent.
		URL:    &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Header: http.Header{},
	}
	for _, name := range a.signedHeaders {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch values := r.Header[canonical]; {
		case name == "host":
		case name == "content-length":
			// The server has it as a number.
			copied.ContentLength = r.ContentLength
		case len(values) == 0:
			return "", false
		default:
			copied.Header[canonical] = slices.Clone(values)
		}
	}
	credentials := aws.Credentials{AccessKeyID: a.accessKeyID, SecretAccessKey: who.Secret}
	// A new signer each time: one that is kept caches the key of the access key id,
	// and would go on to use it when the secret has changed.
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableSessionToken = true })
	if err := signer.SignHTTP(context.Background(), credentials, copied, hash, a.service, a.region, a.at); err != nil {
		return "", false
	}
	b, problem := parseAuthorization(copied.Header.Get(headerAuthorization))
	if problem != "" || !slices.Equal(a.signedHeaders, b.signedHeaders) {
		return "", false
	}
	return b.signature, true
}

// sameSecret compares in a time that tells nothing but the lengths.
func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
