package kmsclient

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// maxBackoff is the longest pause between two attempts. The SDK's 20 seconds would
// leave little of a call's time.
const maxBackoff = 5 * time.Second

// newRetryer is the SDK's standard retryer. It has no quota over all calls: the
// number of attempts and the time of a call bound it already, and a quota that an
// outage has used up would fail calls after it.
func newRetryer(maxAttempts int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = maxBackoff
		o.RateLimiter = ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(final)}, o.Retryables...)
	})
}

// final knows errors that the SDK takes for those of a connection although another
// attempt meets them again.
func final(err error) aws.Ternary {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) || errors.Is(err, ErrAnswer) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}
