package sigv4

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

// A front answers as a JSON service that has verified who calls, and no more.
type front struct {
	*httptest.Server
	verifier *Verifier

	mu      sync.Mutex
	callers []string // ARNs of those let through
	refused []string // codes
}

func newFront(t testing.TB, v *Verifier) *front {
	t.Helper()
	f := &front{verifier: v}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Date", f.verifier.now().UTC().Format(http.TimeFormat))
	who, err := f.verifier.Verify(r, body)
	f.mu.Lock()
	defer f.mu.Unlock()
	var refusal *Error
	if errors.As(err, &refusal) {
		f.refused = append(f.refused, refusal.Code)
		w.WriteHeader(refusal.Status)
		fmt.Fprintf(w, `{"__type":%q,"message":%q}`, refusal.Code, refusal.Message)
		return
	}
	f.callers = append(f.callers, who.Principal.ARN)
	io.WriteString(w, "{}")
}

// client is the unmodified client of the SDK, over a transport.
func (f *front) client(p aws.CredentialsProvider, region string, transport http.RoundTripper, change ...func(*kms.Options)) *kms.Client {
	o := kms.Options{
		Region: region, Credentials: p, BaseEndpoint: aws.String(f.URL),
		HTTPClient: &http.Client{Transport: transport}, RetryMaxAttempts: 1,
	}
	for _, c := range change {
		c(&o)
	}
	return kms.New(o)
}

func static(c iam.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

// altering changes requests that are on their way.
type altering func(*http.Request) *http.Request

func (a altering) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(a(r.Clone(r.Context())))
}

func codeOfAPI(err error) string {
	var e smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.ErrorCode()
	}
	return err.Error()
}

// liveWorld is a world at the time of now, which the SDK signs with.
func liveWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.now = time.Now()
	role, err := w.directory.CreateRole(testAccount, "live")
	if err != nil {
		t.Fatal(err)
	}
	if w.session, err = w.directory.AssumeRole(role, "session", time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	return w
}

// metadata answers for a role as the metadata service of an instance.
type metadata struct{ iam.Credentials }

func (m metadata) GetMetadata(_ context.Context, in *imds.GetMetadataInput, _ ...func(*imds.Options)) (*imds.GetMetadataOutput, error) {
	text := "live"
	if strings.HasSuffix(in.Path, "/live") {
		b, err := json.Marshal(map[string]any{
			"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": m.AccessKeyID, "SecretAccessKey": m.SecretAccessKey,
			"Token": m.SessionToken, "Expiration": m.Expires, "LastUpdated": m.Expires.Add(-time.Hour),
		})
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	return &imds.GetMetadataOutput{Content: io.NopCloser(strings.NewReader(text))}, nil
}

func TestSDK(t *testing.T) {
	w := liveWorld(t)
	f := newFront(t, w.verifier)
	role := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata{w.session} })
	contentHash := func(o *kms.Options) { o.APIOptions = append(o.APIOptions, v4.AddContentSHA256HeaderMiddleware) }
	tests := []struct {
		name     string
		provider aws.CredentialsProvider
		change   []func(*kms.Options)
		want     string
	}{
		{"user", static(w.user), nil, "arn:aws:iam::111122223333:user/alice"},
		{"session", static(w.session), nil, "arn:aws:sts::111122223333:assumed-role/live/session"},
		{"role of an instance", role, nil, "arn:aws:sts::111122223333:assumed-role/live/session"},
		{"content hash", static(w.session), []func(*kms.Options){contentHash}, "arn:aws:sts::111122223333:assumed-role/live/session"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.callers = nil
			var hashed bool
			c := f.client(tt.provider, testRegion, altering(func(r *http.Request) *http.Request {
				hashed = r.Header.Get(headerHash) != ""
				return r
			}), tt.change...)
			calls := []func() error{
				func() error { _, err := c.ListKeys(t.Context(), &kms.ListKeysInput{}); return err },
				func() error {
					_, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String("alias/é ü"), Plaintext: bytes.Repeat([]byte{0, 255}, 2000)})
					return err
				},
			}
			for i, call := range calls {
				if err := call(); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
			if diff := cmp.Diff([]string{tt.want, tt.want}, f.callers); diff != "" {
				t.Errorf("callers (-want +got)\n%s", diff)
			}
			if hashed != (tt.change != nil) {
				t.Errorf("a content hash was sent: %v", hashed)
			}
		})
	}
}

func TestSDKRefused(t *testing.T) {
	w := liveWorld(t)
	body := func(text string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			return r
		}
	}
	set := func(name, value string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request { r.Header.Set(name, value); return r }
	}
	nothing := func(r *http.Request) *http.Request { return r }
	wrong := w.session
	wrong.SecretAccessKey = w.user.SecretAccessKey
	tests := []struct {
		name   string
		who    iam.Credentials
		region string
		alter  func(*http.Request) *http.Request
		want   string
	}{
		{"nothing wrong", w.session, testRegion, nothing, ""},
		{"wrong secret", wrong, testRegion, nothing, InvalidSignature},
		{"dummy credentials", iam.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, testRegion, nothing, Unrecognized},
		{"wrong region", w.session, "eu-central-1", nothing, InvalidSignature},
		{"body", w.session, testRegion, body(`{"Limit":2}`), InvalidSignature},
		{"no body", w.session, testRegion, body(""), InvalidSignature},
		{"body of the same length", w.session, testRegion, body(`{"Limit":9}`), InvalidSignature},
		{"target", w.session, testRegion, set("X-Amz-Target", "TrentService.ListAliases"), InvalidSignature},
		{"user agent", w.session, testRegion, set("User-Agent", "another"), ""},
		{"host", w.session, testRegion, func(r *http.Request) *http.Request { r.Host = testHost; return r }, InvalidSignature},
		{"path", w.session, testRegion, func(r *http.Request) *http.Request { r.URL.Path = "/x"; return r }, InvalidSignature},
		{"query", w.session, testRegion, func(r *http.Request) *http.Request { r.URL.RawQuery = "x=1"; return r }, InvalidSignature},
		{"method", w.session, testRegion, func(r *http.Request) *http.Request { r.Method = http.MethodPut; return r }, InvalidSignature},
		{"token removed", w.session, testRegion, func(r *http.Request) *http.Request { r.Header.Del(headerToken); return r }, Unrecognized},
		{"authorization removed", w.session, testRegion, func(r *http.Request) *http.Request { r.Header.Del(headerAuthorization); return r }, MissingToken},
		{"bearer", w.session, testRegion, set(headerAuthorization, "Bearer x"), Incomplete},
		{"signed URL", w.session, testRegion, func(r *http.Request) *http.Request {
			r.Header.Del(headerAuthorization)
			who := aws.Credentials{AccessKeyID: w.session.AccessKeyID, SecretAccessKey: w.session.SecretAccessKey, SessionToken: w.session.SessionToken}
			r.URL.RawQuery = "X-Amz-Expires=300"
			signed, header, err := v4.NewSigner().PresignHTTP(r.Context(), who, r, hexHash([]byte(`{"Limit":1}`)), "kms", testRegion, time.Now())
			if err != nil {
				t.Error(err)
			}
			u, err := r.URL.Parse(signed)
			if err != nil {
				t.Error(err)
			}
			r.URL, r.Header = u, header
			return r
		}, MissingToken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(t, w.verifier)
			c := f.client(static(tt.who), tt.region, altering(tt.alter))
			_, err := c.ListKeys(t.Context(), &kms.ListKeysInput{Limit: aws.Int32(1)})
			if got := codeOfAPI(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if let := len(f.callers) > 0; let != (tt.want == "") {
				t.Errorf("let through: %v", f.callers)
			}
		})
	}
	t.Run("another service", func(t *testing.T) {
		v := *w.verifier
		v.Service = "sts"
		_, err := newFront(t, &v).client(static(w.session), testRegion, http.DefaultTransport).ListKeys(t.Context(), nil)
		if got := codeOfAPI(err); got != InvalidSignature {
			t.Errorf("got %q", got)
		}
	})
	t.Run("expired session", func(t *testing.T) {
		v := *w.verifier
		v.Skew = 3 * time.Hour // or the clocks would be too far apart
		v.Now = func() time.Time { return w.now.Add(time.Hour) }
		_, err := newFront(t, &v).client(static(w.session), testRegion, http.DefaultTransport).ListKeys(t.Context(), nil)
		if got := codeOfAPI(err); got != ExpiredToken {
			t.Errorf("got %q", got)
		}
	})
}

// A client with a wrong clock learns the right one from the refusal, which has the
// code and the Date for it, and is let through on its second attempt.
func TestSDKClock(t *testing.T) {
	for _, off := range []time.Duration{-20 * time.Minute, 20 * time.Minute} {
		t.Run(off.String(), func(t *testing.T) {
			w := liveWorld(t)
			w.verifier.Now = func() time.Time { return time.Now().Add(off) }
			f := newFront(t, w.verifier)
			c := f.client(static(w.user), testRegion, http.DefaultTransport, func(o *kms.Options) { o.RetryMaxAttempts = 2 })
			if _, err := c.ListKeys(t.Context(), nil); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{InvalidSignature}, f.refused); diff != "" {
				t.Errorf("refused (-want +got)\n%s", diff)
			}
		})
	}
}

// Many clients at a time, while keys come and go.
func TestSDKConcurrent(t *testing.T) {
	w := liveWorld(t)
	f := newFront(t, w.verifier)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c := f.client(static(w.user), testRegion, http.DefaultTransport)
			for range 10 {
				if _, err := c.ListKeys(t.Context(), nil); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 10 {
				s, err := w.directory.AssumeRole("arn:aws:iam::"+testAccount+":role/live", "other", time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				c := f.client(static(s), testRegion, http.DefaultTransport)
				if _, err := c.ListKeys(t.Context(), nil); err != nil {
					t.Error(err)
				}
				if err := w.directory.DeleteAccessKey(s.AccessKeyID); err != nil {
					t.Error(err)
				}
				if _, err := c.ListKeys(t.Context(), nil); codeOfAPI(err) != Unrecognized {
					t.Errorf("after the session was dropped: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if len(f.callers) != 80 || len(f.refused) != 40 {
		t.Errorf("%d let through and %d refused, want 80 and 40", len(f.callers), len(f.refused))
	}
}
