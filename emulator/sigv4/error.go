package sigv4

import "net/http"

// Codes of errors, as AWS's JSON services have them.
const (
	MissingToken     = "MissingAuthenticationTokenException" // no signature at all
	Incomplete       = "IncompleteSignatureException"        // not of the form
	InvalidSignature = "InvalidSignatureException"           // wrong, of another time, or for another service
	Unrecognized     = "UnrecognizedClientException"         // unknown access key or session token
	ExpiredToken     = "ExpiredTokenException"               // session has ended
)

// An Error is why a request is refused. Its text has no part of a secret, a
// signature or a token.
type Error struct {
	Code    string // one of the codes here
	Message string // for the client
	Status  int    // of HTTP
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, message string) *Error {
	return &Error{Code: code, Message: message, Status: http.StatusBadRequest}
}
