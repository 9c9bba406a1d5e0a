package kms

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/nitrolab/nitrolab/emulator/sigv4"
)

// Error codes. Those with a line in the model of the API (types/errors.go of the
// SDK) carry their text as "message"; the others are common to AWS services.
const (
	codeAccessDenied     = "AccessDeniedException"
	codeDryRun           = "DryRunOperationException"
	codeInternal         = "KMSInternalException"
	codeMalformedPolicy  = "MalformedPolicyDocumentException"
	codeInvalidMarker    = "InvalidMarkerException"
	codeIncorrectKey     = "IncorrectKeyException"
	codeInvalidKeyUsage  = "InvalidKeyUsageException"
	codeNotFound         = "NotFoundException"
	codeSerialization    = "SerializationException"
	codeThrottling       = "ThrottlingException"
	codeTooLarge         = "RequestEntityTooLargeException"
	codeTimeout          = "RequestTimeoutException"
	codeUnavailable      = "ServiceUnavailableException"
	codeUnknownOperation = "UnknownOperationException"
	codeUnsupported      = "UnsupportedOperationException"
	codeValidation       = "ValidationException"
)

// An exception is an answer that is no success.
type exception struct {
	code    string
	message string
	status  int // zero means 400
}

func (e *exception) Error() string {
	if e.message == "" {
		return e.code
	}
	return e.code + ": " + e.message
}

func refuse(code, format string, args ...any) *exception {
	return &exception{code: code, message: fmt.Sprintf(format, args...)}
}

// internal is what a client learns of a failure of the service itself.
func internal() *exception {
	return &exception{code: codeInternal, message: "the request failed because of an internal error", status: http.StatusInternalServerError}
}

// asException gives what a client is told of err, and whether err is of the
// service's own making and belongs into its log.
func asException(err error) (e *exception, own bool) {
	var signature *sigv4.Error
	switch {
	case errors.As(err, &e):
		return e, e.code == codeInternal
	case errors.As(err, &signature):
		return &exception{code: signature.Code, message: signature.Message, status: signature.Status}, false
	}
	if e := keyException(err); e != nil {
		return e, false
	}
	return internal(), true
}

// body is the JSON of an error. AccessDeniedException has a capital M, as real
// answers show; the SDKs read both.
func (e *exception) body() []byte {
	members := map[string]string{"__type": e.code}
	switch {
	case e.message == "":
	case e.code == codeAccessDenied:
		members["Message"] = e.message
	default:
		members["message"] = e.message
	}
	b, err := json.Marshal(members)
	if err != nil {
		panic("kms: " + err.Error()) // strings only
	}
	return b
}
