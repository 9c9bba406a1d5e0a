package kmsclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Reasons why there is no secret, found by errors.Is in an [Error].
var (
	// ErrAttest says that there was no document; nothing was sent.
	ErrAttest = errors.New("no attestation document")

	// ErrDenied says that the key service does not allow it to these credentials
	// with this document (AccessDeniedException).
	ErrDenied = errors.New("access denied by the key service")

	// ErrCredentials says that there are no credentials, or that the key service
	// does not accept a signature with them, for example because the session token
	// has expired.
	ErrCredentials = errors.New("no usable credentials for the key service")

	// ErrRefused says that the key service refuses for another reason: the key is
	// unknown or disabled, the ciphertext is not of this key or context. Code of
	// the Error says which.
	ErrRefused = errors.New("refused by the key service")

	// ErrThrottled says that all attempts were throttled.
	ErrThrottled = errors.New("throttled by the key service")

	// ErrUnavailable says that the last attempt met a server error, or no
	// connection, or one that broke.
	ErrUnavailable = errors.New("key service unavailable")

	// ErrTimeout says that an attempt or the whole call took too long.
	ErrTimeout = errors.New("key service did not answer in time")

	// ErrCertificate says that who answers is not the key service: its
	// certificate leads to none of the roots, or is for another name.
	ErrCertificate = errors.New("not the certificate of the key service")

	// ErrPlaintext says that the answer had a secret in the clear. It was wiped.
	// Whatever sent it has not looked at the document.
	ErrPlaintext = errors.New("answer with plaintext, not sealed to this enclave")

	// ErrNotSealed says that the answer had no CiphertextForRecipient.
	ErrNotSealed = errors.New("answer without CiphertextForRecipient")

	// ErrKey says that the answer is about another key than that asked for.
	ErrKey = errors.New("answer for another key")

	// ErrAnswer says that the answer is malformed, or is sealed to another key;
	// then an error of package envelope is in it too.
	ErrAnswer = errors.New("unusable answer")
)

// An Error is a call without a secret.
type Error struct {
	Operation string // such as Decrypt
	Code      string // of the key service, such as AccessDeniedException; empty if it sent none
	RequestID string // of the key service, for its log; empty if it sent none
	Attempts  int    // how often the request was sent
	Err       error  // wraps one of this package's reasons, or is that of the context
}

// Error implements error. Nothing secret is in the text.
func (e *Error) Error() string {
	text := "kms " + e.Operation + ": " + e.Err.Error()
	if e.Attempts > 1 {
		text += fmt.Sprintf(" (after %d attempts)", e.Attempts)
	}
	return text
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// newError finds the reason for err.
func newError(operation string, attempts int, err error) *Error {
	e := &Error{Operation: operation, Attempts: attempts}
	var response *smithyhttp.ResponseError
	status := 0
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
		if r := response.Response; r != nil && r.Response != nil {
			e.RequestID = printable(r.Header.Get("X-Amzn-Requestid"))
		}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code = printable(api.ErrorCode())
		e.Err = fmt.Errorf("%w: %s: %s", reason(api.ErrorCode(), status), e.Code, printable(api.ErrorMessage()))
		return e
	}
	e.Err = transportError(err)
	return e
}

// reason is for an error that the key service sent. AccessDeniedException and the
// errors of the signature are not in the KMS model: they are common to all AWS
// services (KMS API Reference, Common Error Types).
func reason(code string, status int) error {
	if _, ok := retry.DefaultThrottleErrorCodes[code]; ok {
		return ErrThrottled
	}
	switch code {
	case "AccessDeniedException":
		return ErrDenied
	case "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException", "InvalidClientTokenId",
		"InvalidSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"SignatureDoesNotMatch", "UnrecognizedClientException":
		return ErrCredentials
	}
	switch {
	case status == http.StatusTooManyRequests:
		return ErrThrottled
	case status >= 500:
		return ErrUnavailable
	}
	return ErrRefused
}

// own are the reasons that this package has found itself.
var own = []error{ErrAttest, ErrCredentials, ErrPlaintext, ErrNotSealed, ErrKey, ErrAnswer}

// transportError finds the reason for an error that is not the key service's.
func transportError(err error) error {
	for _, reason := range own {
		if errors.Is(err, reason) {
			return err
		}
	}
	var certificate *tls.CertificateVerificationError
	var timeout interface{ Timeout() bool }
	var sent *smithyhttp.RequestSendError
	var malformed *smithy.DeserializationError
	var invalid smithy.InvalidParamsError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &certificate):
		return fmt.Errorf("%w: %w", ErrCertificate, certificate)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.As(err, &sent):
		return fmt.Errorf("%w: %w", ErrUnavailable, sent.Err)
	case errors.As(err, &malformed):
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: %w", ErrRefused, invalid)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// maxText is how much of a text from the other side is shown.
const maxText = 512

// printable keeps what the other side sent to one line that moves no cursor.
func printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
