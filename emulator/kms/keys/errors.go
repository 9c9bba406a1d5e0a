package keys

import "fmt"

// An Exception is a reason to refuse an operation: the name of the exception that
// AWS KMS answers with. It is an error, so that errors.Is finds it in what this
// package returns.
type Exception string

// The exceptions of the KMS API reference that a Ring gives rise to.
const (
	ErrNotFound          Exception = "NotFoundException"
	ErrDisabled          Exception = "DisabledException"
	ErrInvalidState      Exception = "KMSInvalidStateException" // pending deletion, or not pending deletion
	ErrInvalidCiphertext Exception = "InvalidCiphertextException"
	ErrIncorrectKey      Exception = "IncorrectKeyException"
	ErrInvalidUsage      Exception = "InvalidKeyUsageException" // key usage or algorithm does not fit the key
	ErrAlreadyExists     Exception = "AlreadyExistsException"
	ErrLimit             Exception = "LimitExceededException"
	ErrInvalidSignature  Exception = "KMSInvalidSignatureException"
	ErrInvalidMAC        Exception = "KMSInvalidMacException"
	ErrInvalidAliasName  Exception = "InvalidAliasNameException"
	ErrInvalidARN        Exception = "InvalidArnException"
	ErrInvalidMarker     Exception = "InvalidMarkerException"
	ErrTag               Exception = "TagException"
	ErrUnsupported       Exception = "UnsupportedOperationException"
	ErrValidation        Exception = "ValidationException" // a value outside its limits

	// ErrInternal is a failure of the store or of the source of entropy: nobody's
	// request was wrong.
	ErrInternal Exception = "KMSInternalException"
)

// Error implements error.
func (e Exception) Error() string { return string(e) }

// An Error is an Exception with the sentence that goes with it. It never holds key
// material, plaintext or ciphertext, and may be sent to the caller as it is, with
// AWS's wording where that is known; only Cause is for the operator alone.
type Error struct {
	Exception Exception
	Message   string // may be empty, as AWS's InvalidCiphertextException
	Cause     error  // of ErrInternal
}

// Error implements error.
func (e *Error) Error() string {
	s := string(e.Exception)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the Exception and the Cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Exception}
	}
	return []error{e.Exception, e.Cause}
}

func fail(e Exception, format string, args ...any) error {
	return &Error{Exception: e, Message: fmt.Sprintf(format, args...)}
}

// internal wraps what the caller of KMS can do nothing about.
func internal(doing string, cause error) error {
	return &Error{Exception: ErrInternal, Message: doing, Cause: cause}
}

// invalidCiphertext says nothing more, for that would tell whoever probes with
// changed ciphertexts which change it was.
func invalidCiphertext() error { return &Error{Exception: ErrInvalidCiphertext} }
