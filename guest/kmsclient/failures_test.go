package kmsclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/kmsclient"
)

var errNSM = errors.New("nsm is gone")

func decrypt(ctx context.Context, c *kmsclient.Client) ([]byte, error) {
	return c.Decrypt(ctx, kmsclient.Decrypt{KeyID: keyARN, Ciphertext: []byte("blob")})
}

// Answers that are final, and those that are worth another attempt, with the number
// of them.
func TestFailures(t *testing.T) {
	const denied = "User: arn:aws:sts::123456789012:assumed-role/R/i-1 is not authorized to perform: kms:Decrypt"
	sealed := operations()[0].sealed()
	tests := []struct {
		name     string
		replies  []reply
		want     error // nil: a secret
		attempts int
		code     string
	}{
		{"denied", []reply{exception(400, "AccessDeniedException", denied)}, kmsclient.ErrDenied, 1, "AccessDeniedException"},
		{"expired token", []reply{exception(400, "ExpiredTokenException", "")}, kmsclient.ErrCredentials, 1, "ExpiredTokenException"},
		{"unknown access key", []reply{exception(400, "UnrecognizedClientException", "")}, kmsclient.ErrCredentials, 1, "UnrecognizedClientException"},
		{"wrong signature", []reply{exception(400, "InvalidSignatureException", "")}, kmsclient.ErrCredentials, 1, "InvalidSignatureException"},
		{"another key's ciphertext", []reply{exception(400, "IncorrectKeyException", "")}, kmsclient.ErrRefused, 1, "IncorrectKeyException"},
		{"wrong context", []reply{exception(400, "InvalidCiphertextException", "")}, kmsclient.ErrRefused, 1, "InvalidCiphertextException"},
		{"no such key", []reply{exception(400, "NotFoundException", "")}, kmsclient.ErrRefused, 1, "NotFoundException"},
		{"bad document", []reply{exception(400, "ValidationException", "")}, kmsclient.ErrRefused, 1, "ValidationException"},
		{"namespace of a name", []reply{exception(400, "com.amazonaws.kms#DisabledException", "")}, kmsclient.ErrRefused, 1, "DisabledException"},

		{"throttled", []reply{exception(400, "ThrottlingException", "Rate exceeded")}, kmsclient.ErrThrottled, 3, "ThrottlingException"},
		{"throttled by status", []reply{exception(429, "Odd", "")}, kmsclient.ErrThrottled, 3, "Odd"},
		{"throttled once", []reply{exception(400, "ThrottlingException", ""), sealed}, nil, 2, ""},
		{"internal", []reply{exception(500, "KMSInternalException", "")}, kmsclient.ErrUnavailable, 3, "KMSInternalException"},
		{"internal twice", []reply{exception(500, "KMSInternalException", ""), exception(503, "", ""), sealed}, nil, 3, ""},
		{"throttled, then denied", []reply{exception(400, "ThrottlingException", ""), exception(400, "AccessDeniedException", "")}, kmsclient.ErrDenied, 2, "AccessDeniedException"},
		{"reset", []reply{reset}, kmsclient.ErrUnavailable, 3, ""},
		{"reset once", []reply{reset, sealed}, nil, 2, ""},
		{"cut off", []reply{cutOff}, kmsclient.ErrUnavailable, 3, ""},
		{"cut off twice", []reply{cutOff, cutOff, sealed}, nil, 3, ""},
		{"silent", []reply{silent}, kmsclient.ErrTimeout, 3, ""},
		{"silent once", []reply{silent, sealed}, nil, 2, ""},

		{"no JSON", []reply{func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }}, kmsclient.ErrAnswer, 1, ""},
		{"cut off JSON", []reply{func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"KeyId":"arn`) }}, kmsclient.ErrAnswer, 1, ""},
		{"giant answer", []reply{giant}, kmsclient.ErrAnswer, 1, ""},
		{"good answer with too much behind it", []reply{func(w http.ResponseWriter, r *http.Request) {
			sealed(w, r)
			io.WriteString(w, strings.Repeat(" ", 64<<10))
		}}, kmsclient.ErrAnswer, 1, ""},
		{"redirect", []reply{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://kms.us-east-2.amazonaws.com/", http.StatusTemporaryRedirect)
		}}, kmsclient.ErrRefused, 1, "UnknownError"},
		{"error without a body", []reply{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }}, kmsclient.ErrRefused, 1, "UnknownError"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, nil, tt.replies...)
				start := time.Now()
				got, err := decrypt(t.Context(), client(t, config(s)))
				if took := time.Since(start); took > kmsclient.DefaultTimeout {
					t.Errorf("took %v, longer than %v", took, kmsclient.DefaultTimeout)
				}
				if n := len(s.got()); n != tt.attempts {
					t.Errorf("%d requests, want %d", n, tt.attempts)
				}
				if tt.want == nil {
					if err != nil || string(got) != "weights" {
						t.Errorf("Decrypt = %q, %v", got, err)
					}
					return
				}
				var typed *kmsclient.Error
				if !errors.Is(err, tt.want) || !errors.As(err, &typed) || got != nil {
					t.Fatalf("Decrypt = %q, %v; want %v", got, err, tt.want)
				}
				if typed.Attempts != tt.attempts || typed.Code != tt.code || typed.Operation != "Decrypt" {
					t.Errorf("%#v, want code %q and %d attempts", typed, tt.code, tt.attempts)
				}
				if tt.code != "" && tt.code != "UnknownError" && typed.RequestID != "5c0ffee5" {
					t.Errorf("request id %q", typed.RequestID)
				}
				if strings.Contains(err.Error(), secret) || strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("error %q", err)
				}
			})
		})
	}
}

// giant writes without end until nobody reads.
func giant(w http.ResponseWriter, _ *http.Request) {
	b := []byte(strings.Repeat(" ", 4096))
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// The text of a service is one line, and not too long.
func TestErrorText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, exception(400, "AccessDeniedException", "no"+strings.Repeat("x", 9000)), exception(400, "Access\u001b[31mDenied", "no\nway"))
		c := client(t, config(s))
		_, err := decrypt(t.Context(), c)
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("error %.2000v", err)
		}
		_, err = decrypt(t.Context(), c)
		want := "kms Decrypt: refused by the key service: Access?[31mDenied: no?way"
		if err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	})
}

// The limits of time, each met by a service that says nothing.
func TestTimeouts(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*kmsclient.Config)
		context func(context.Context) (context.Context, context.CancelFunc)
		want    error
		atMost  time.Duration
		atLeast time.Duration
		n       int // requests
	}{
		{name: "attempts", change: func(c *kmsclient.Config) { c.AttemptTimeout = 2 * time.Second },
			want: kmsclient.ErrTimeout, atLeast: 6 * time.Second, atMost: 6*time.Second + 2*5*time.Second, n: 3},
		{name: "one attempt", change: func(c *kmsclient.Config) { c.AttemptTimeout, c.MaxAttempts = 2*time.Second, 1 },
			want: kmsclient.ErrTimeout, atLeast: 2 * time.Second, atMost: 2 * time.Second, n: 1},
		{name: "the call", change: func(c *kmsclient.Config) { c.Timeout = 5 * time.Second },
			want: kmsclient.ErrTimeout, atLeast: 5 * time.Second, atMost: 5 * time.Second, n: 1},
		{name: "the call, between many attempts", change: func(c *kmsclient.Config) {
			c.Timeout, c.AttemptTimeout, c.MaxAttempts = 20*time.Second, time.Second, kmsclient.MaxMaxAttempts
		}, want: kmsclient.ErrTimeout, atMost: 20 * time.Second, n: -1},
		{name: "the caller's deadline", context: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 3*time.Second)
		}, want: context.DeadlineExceeded, atLeast: 3 * time.Second, atMost: 3 * time.Second, n: 1},
		{name: "the caller", context: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			stop := time.AfterFunc(4*time.Second, cancel)
			return ctx, func() { stop.Stop(); cancel() }
		}, want: context.Canceled, atLeast: 4 * time.Second, atMost: 4 * time.Second, n: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, nil, silent)
				cfg := config(s)
				if tt.change != nil {
					tt.change(&cfg)
				}
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if tt.context != nil {
					ctx, cancel = tt.context(ctx)
				}
				defer cancel()
				start := time.Now()
				got, err := decrypt(ctx, client(t, cfg))
				if took := time.Since(start); took < tt.atLeast || took > tt.atMost {
					t.Errorf("took %v, want %v to %v", took, tt.atLeast, tt.atMost)
				}
				var typed *kmsclient.Error
				if got != nil || !errors.Is(err, tt.want) || !errors.As(err, &typed) {
					t.Errorf("Decrypt = %q, %v; want %v", got, err, tt.want)
				}
				if n := len(s.got()); tt.n >= 0 && n != tt.n || n > kmsclient.MaxMaxAttempts {
					t.Errorf("%d requests, want %d", n, tt.n)
				}
			})
		})
	}
}

// Pauses between attempts are there, and do not grow without a limit.
func TestPauses(t *testing.T) {
	for range 5 { // their length is random
		synctest.Test(t, func(t *testing.T) {
			var times []time.Time
			throttled := exception(400, "ThrottlingException", "")
			s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				times = append(times, time.Now())
				throttled(w, r)
			})
			cfg := config(s)
			cfg.MaxAttempts = kmsclient.MaxMaxAttempts
			if _, err := decrypt(t.Context(), client(t, cfg)); !errors.Is(err, kmsclient.ErrThrottled) || len(times) != kmsclient.MaxMaxAttempts {
				t.Errorf("%d attempts, %v", len(times), err)
			}
			for i := range len(times) - 1 {
				if pause := times[i+1].Sub(times[i]); pause <= 0 || pause > 5*time.Second {
					t.Errorf("pause %d is %v", i, pause)
				}
			}
		})
	}
}

func TestDialFails(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "vsock", Err: errors.New("connection reset by peer")}
	dials := 0
	cfg := config(nil)
	cfg.Dial = func(context.Context) (net.Conn, error) {
		dials++
		return nil, refused
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := decrypt(t.Context(), client(t, cfg))
		if !errors.Is(err, kmsclient.ErrUnavailable) || !errors.Is(err, refused) || dials != 3 {
			t.Errorf("after %d dials: %v", dials, err)
		}
	})
	// A proxy that takes the connection and says nothing.
	cfg.Dial = func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := decrypt(t.Context(), client(t, cfg))
		if !errors.Is(err, kmsclient.ErrTimeout) || time.Since(start) > kmsclient.DefaultTimeout {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// Without a document nothing is sent.
func TestAttestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, operations()[0].sealed())
		cfg := config(s)
		cfg.Attest = func(context.Context, []byte) ([]byte, error) { return nil, errNSM }
		_, err := decrypt(t.Context(), client(t, cfg))
		if !errors.Is(err, kmsclient.ErrAttest) || !errors.Is(err, errNSM) {
			t.Errorf("error %v", err)
		}
		// An empty document would be left out of the request.
		cfg.Attest = func(context.Context, []byte) ([]byte, error) { return nil, nil }
		if _, err := decrypt(t.Context(), client(t, cfg)); !errors.Is(err, kmsclient.ErrAttest) {
			t.Errorf("with an empty document: %v", err)
		}
		// The limit of time is for the document too.
		cfg.Timeout = time.Second
		cfg.Attest = func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if _, err := decrypt(t.Context(), client(t, cfg)); !errors.Is(err, kmsclient.ErrAttest) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a slow module: %v", err)
		}
		if diff := cmp.Diff([]request(nil), s.got()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

func TestCredentialsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, operations()[0].sealed())
		cfg := config(s)
		cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("none yet")
		})
		_, err := decrypt(t.Context(), client(t, cfg))
		if !errors.Is(err, kmsclient.ErrCredentials) || !strings.Contains(fmt.Sprint(err), "none yet") {
			t.Errorf("error %v", err)
		}
		if n := len(s.got()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}
