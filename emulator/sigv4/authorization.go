package sigv4

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const (
	algorithm   = "AWS4-HMAC-SHA256"
	terminator  = "aws4_request"
	dateForm    = "20060102T150405Z"
	scopeLength = len("20060102")

	maxHeader  = 8 << 10 // of Authorization, in bytes
	maxHeaders = 64      // in SignedHeaders
)

// Headers by their canonical names.
const (
	headerAuthorization = "Authorization"
	headerDate          = "X-Amz-Date"
	headerToken         = "X-Amz-Security-Token"
	headerHash          = "X-Amz-Content-Sha256"
)

// An authorization is what a signed request says about its signature.
type authorization struct {
	accessKeyID           string
	date, region, service string // of the credential scope
	signedHeaders         []string
	signature             string // 64 hexadecimal digits
	at                    time.Time
}

var (
	// keyForm also takes ids that are shorter than AWS's, as in "test": whoever
	// forgot to configure credentials is told that they are unknown.
	keyForm       = regexp.MustCompile(`^\w{1,128}$`)
	scopePart     = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	headerForm    = regexp.MustCompile(`^[a-z0-9!#$%&'*+.^_|~` + "`" + `-]{1,256}$`)
	signatureForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// parse reads Authorization and X-Amz-Date of a request.
func parse(h http.Header) (*authorization, *Error) {
	values := h[headerAuthorization]
	if len(values) == 0 || values[0] == "" {
		return nil, refuse(MissingToken, "Missing Authentication Token")
	}
	if len(values) > 1 || len(values[0]) > maxHeader {
		return nil, refuse(Incomplete, fmt.Sprintf("Authorization header is allowed once, with at most %d bytes.", maxHeader))
	}
	a, problem := parseAuthorization(values[0])
	if problem != "" {
		return nil, refuse(Incomplete, problem)
	}
	dates := h[headerDate]
	if len(dates) != 1 {
		return nil, refuse(Incomplete, "Authorization header requires existence of one 'X-Amz-Date' header.")
	}
	at, err := time.Parse(dateForm, dates[0])
	if err != nil || at.Format(dateForm) != dates[0] {
		return nil, refuse(Incomplete, "Date in the 'X-Amz-Date' header is not of the form 20060102T150405Z.")
	}
	a.at = at
	return a, nil
}

// parseAuthorization reads the header; problem is for the client, "" if there is
// none.
func parseAuthorization(header string) (a *authorization, problem string) {
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return nil, "Authorization header requires the algorithm " + algorithm + "."
	}
	parts := map[string]string{}
	for item := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(item, " "), "=")
		if _, twice := parts[name]; !ok || twice || len(parts) == 3 {
			return nil, "Authorization header is not a list of Credential, SignedHeaders and Signature."
		}
		parts[name] = value
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parts[name] == "" {
			return nil, fmt.Sprintf("Authorization header requires '%s' parameter.", name)
		}
	}
	a = &authorization{signature: parts["Signature"]}
	if !signatureForm.MatchString(a.signature) {
		return nil, "'Signature' is not 64 lower-case hexadecimal digits."
	}
	if !a.parseCredential(parts["Credential"]) {
		return nil, "'Credential' is not of the form <access key>/<yyyymmdd>/<region>/<service>/" + terminator + "."
	}
	a.signedHeaders = strings.Split(parts["SignedHeaders"], ";")
	if len(a.signedHeaders) > maxHeaders {
		return nil, fmt.Sprintf("'SignedHeaders' has more than %d names.", maxHeaders)
	}
	for i, name := range a.signedHeaders {
		if !headerForm.MatchString(name) || i > 0 && name <= a.signedHeaders[i-1] {
			return nil, "'SignedHeaders' is not a sorted list of lower-case names, each once."
		}
	}
	return a, ""
}

func (a *authorization) parseCredential(text string) bool {
	parts := strings.Split(text, "/")
	if len(parts) != 5 || parts[4] != terminator {
		return false
	}
	a.accessKeyID, a.date, a.region, a.service = parts[0], parts[1], parts[2], parts[3]
	return keyForm.MatchString(a.accessKeyID) && len(a.date) == scopeLength && strings.Trim(a.date, "0123456789") == "" &&
		scopePart.MatchString(a.region) && scopePart.MatchString(a.service)
}
