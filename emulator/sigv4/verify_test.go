package sigv4

import (
	"bytes"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

// What a client may sign and leave out, with and without a session.
func TestVerify(t *testing.T) {
	w := newWorld(t)
	contentHash := func(r *http.Request) { r.Header.Set(headerHash, hexHash(testBody)) }
	tests := []struct {
		name    string
		prepare func(*http.Request)
		names   string // of signed headers, for a user; "" is all
	}{
		{"all headers", nil, ""},
		{"no more than has to be", nil, "host;x-amz-date;x-amz-target"},
		{"content-length", nil, "content-length;host;x-amz-date;x-amz-target"},
		{"content hash signed", contentHash, ""},
		{"content hash not signed", contentHash, "host;x-amz-date;x-amz-target"},
		{"no target", func(r *http.Request) { r.Header.Del("X-Amz-Target") }, "host;x-amz-date"},
		{"headers not signed", func(r *http.Request) { r.Header.Set("User-Agent", "x"); r.Header.Set("X-Other", "y") }, "content-type;host;x-amz-date;x-amz-target"},
		{"header of several values", func(r *http.Request) { r.Header["X-Many"] = []string{"b", " a  c ", ""} }, ""},
		{"empty header", func(r *http.Request) { r.Header["X-Empty"] = []string{""} }, ""},
		{"query", func(r *http.Request) { r.URL.RawQuery = "b=2&a=%2F&a=-&c=x+y&d=%20&e" }, ""},
		{"path", func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a b/c/é", "/a%20b%2Fc/%C3%A9" }, ""},
		{"path with dots", func(r *http.Request) { r.URL.Path = "/a/../b/./" }, ""},
		{"no path", func(r *http.Request) { r.URL.Path = "" }, ""},
		{"host with a port", func(r *http.Request) { r.Host = "127.0.0.1:8443" }, ""},
		{"host with the default port", func(r *http.Request) { r.Host = testHost + ":443" }, ""},
		{"host that is IPv6", func(r *http.Request) { r.Host = "[::1]:80" }, ""},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, ""},
	}
	for _, tt := range tests {
		for kind, c := range map[string]iam.Credentials{"user": w.user, "session": w.session} {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				r := request()
				if tt.prepare != nil {
					tt.prepare(r)
				}
				s := w.signer(c)
				if tt.names != "" {
					s.names = strings.Split(tt.names, ";")
				}
				s.sign(r, testBody)
				before, url := r.Header.Clone(), *r.URL
				who, err := w.verifier.Verify(r, testBody)
				if err != nil {
					t.Fatal(err)
				}
				want, _ := w.directory.Lookup(c.AccessKeyID)
				if !reflect.DeepEqual(who, want) {
					t.Errorf("signed by %v, want %v", who, want)
				}
				if diff := cmp.Diff(before, r.Header); diff != "" {
					t.Errorf("Verify changed the header (-before +after)\n%s", diff)
				}
				if *r.URL != url {
					t.Errorf("Verify changed the URL from %v to %v", &url, r.URL)
				}
			})
		}
	}
}

// What is signed cannot be changed, nor what is not be added where it counts.
func TestVerifyAltered(t *testing.T) {
	w := newWorld(t)
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	date := w.now.Format(dateForm)
	tests := []struct {
		name  string
		alter func(*http.Request)
		code  string
	}{
		{"nothing", func(*http.Request) {}, ""},
		{"method", func(r *http.Request) { r.Method = http.MethodPut }, InvalidSignature},
		{"host", func(r *http.Request) { r.Host = "kms.eu-central-1.amazonaws.com" }, InvalidSignature},
		{"port", func(r *http.Request) { r.Host += ":443" }, InvalidSignature},
		{"path", func(r *http.Request) { r.URL.Path = "/x" }, InvalidSignature},
		{"path that means the same", func(r *http.Request) { r.URL.Path = "/./" }, InvalidSignature},
		{"opaque target", func(r *http.Request) { r.URL.Opaque, r.URL.Path = "x", "" }, InvalidSignature},
		{"query added", func(r *http.Request) { r.URL.RawQuery += "&b=2" }, InvalidSignature},
		{"query removed", func(r *http.Request) { r.URL.RawQuery = "" }, InvalidSignature},
		{"query value", func(r *http.Request) { r.URL.RawQuery = "a=2" }, InvalidSignature},
		{"query that cannot be read", func(r *http.Request) { r.URL.RawQuery += "&b=%zz" }, InvalidSignature},
		{"query with a semicolon", func(r *http.Request) { r.URL.RawQuery += "&b;c" }, InvalidSignature},
		{"query of too many pairs", func(r *http.Request) { r.URL.RawQuery += strings.Repeat("&", 20_000) }, InvalidSignature},
		{"target", set("X-Amz-Target", "TrentService.Encrypt"), InvalidSignature},
		{"target in another case", set("X-Amz-Target", "trentservice.decrypt"), InvalidSignature},
		{"target twice", set("X-Amz-Target", testTarget, testTarget), InvalidSignature},
		{"target removed", func(r *http.Request) { delete(r.Header, "X-Amz-Target") }, InvalidSignature},
		{"content type", set("Content-Type", "text/plain"), InvalidSignature},
		{"header not signed", set("X-Other", "x"), ""},
		{"a second later", set(headerDate, w.now.Add(time.Second).Format(dateForm)), InvalidSignature},
		{"another day", set(headerDate, w.now.Add(-24*time.Hour).Format(dateForm)), InvalidSignature},
		{"date twice", set(headerDate, date, date), Incomplete},
		{"token removed", func(r *http.Request) { delete(r.Header, headerToken) }, Unrecognized},
		{"token empty", set(headerToken, ""), Unrecognized},
		{"token altered", set(headerToken, w.session.SessionToken[1:]+"A"), Unrecognized},
		{"token in another case", set(headerToken, strings.ToUpper(w.session.SessionToken)), Unrecognized},
		{"token twice", set(headerToken, w.session.SessionToken, ""), Unrecognized},
		{"token in two halves", set(headerToken, w.session.SessionToken[:10], w.session.SessionToken[10:]), Unrecognized},
		{"content length", func(r *http.Request) { r.ContentLength++ }, InvalidSignature},
		{"content length not known", func(r *http.Request) { r.ContentLength = -1 }, InvalidSignature},
		{"content hash of another body", set(headerHash, hexHash(nil)), InvalidSignature},
		{"content hash of the body, not signed", set(headerHash, hexHash(testBody)), ""},
		{"content hash in upper case", set(headerHash, strings.ToUpper(hexHash(testBody))), InvalidSignature},
		{"content hash twice", set(headerHash, hexHash(testBody), hexHash(testBody)), InvalidSignature},
		{"content hash empty", set(headerHash, ""), InvalidSignature},
		{"content not signed", set(headerHash, "UNSIGNED-PAYLOAD"), InvalidSignature},
		{"content in signed chunks", set(headerHash, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), InvalidSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			r.URL.RawQuery = "a=1"
			s := w.signer(w.session)
			s.names = []string{"content-length", "content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"}
			s.sign(r, testBody)
			tt.alter(r)
			checkVerify(t, w, r, testBody, tt.code)
		})
	}
	for i := range testBody {
		r := request()
		w.signer(w.user).sign(r, testBody)
		altered := bytes.Clone(testBody)
		altered[i] ^= 1
		checkVerify(t, w, r, altered, InvalidSignature)
		checkVerify(t, w, r, testBody[:i], InvalidSignature)
	}
}

// Requests whose signature is right for what the client has signed.
func TestVerifyRefused(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name    string
		prepare func(*signer, *http.Request)
		code    string
		text    string
	}{
		{"another region", func(s *signer, _ *http.Request) { s.region = "eu-central-1" }, InvalidSignature, "not 'eu-central-1'"},
		{"another service", func(s *signer, _ *http.Request) { s.service = "sts" }, InvalidSignature, "correct service: 'kms'"},
		{"service in upper case", func(s *signer, _ *http.Request) { s.service = "KMS" }, InvalidSignature, "correct service: 'kms'"},
		{"scope of yesterday", func(s *signer, _ *http.Request) { s.date = "20260228" }, InvalidSignature, "'20260228' != '20260301'"},
		{"unknown access key", func(s *signer, _ *http.Request) { s.credentials.AccessKeyID = "AKIAAAAAAAAAAAAAAAAA" }, Unrecognized, "security token"},
		{"access key of no form", func(s *signer, _ *http.Request) { s.credentials.AccessKeyID = "test" }, Unrecognized, "security token"},
		{"access key in lower case", func(s *signer, _ *http.Request) {
			s.credentials.AccessKeyID = strings.ToLower(s.credentials.AccessKeyID)
		}, Unrecognized, "security token"},
		{"secret of another", func(s *signer, _ *http.Request) { s.credentials.SecretAccessKey = w.session.SecretAccessKey }, InvalidSignature, "does not match"},
		{"no secret", func(s *signer, _ *http.Request) { s.credentials.SecretAccessKey = "" }, InvalidSignature, "does not match"},
		{"user with the token of a session", func(s *signer, r *http.Request) { r.Header.Set(headerToken, w.session.SessionToken) }, Unrecognized, "security token"},
		{"session without its token", func(s *signer, _ *http.Request) { s.credentials, s.token = w.session, false }, Unrecognized, "security token"},
		{"host not signed", func(s *signer, _ *http.Request) { s.names = []string{"x-amz-date", "x-amz-target"} }, Incomplete, "'host' must be"},
		{"date not signed", func(s *signer, _ *http.Request) { s.names = []string{"host", "x-amz-target"} }, Incomplete, "'x-amz-date' must be"},
		{"target not signed", func(s *signer, _ *http.Request) { s.names = []string{"host", "x-amz-date"} }, Incomplete, "'x-amz-target' must be"},
		{"a signed header that is not there", func(s *signer, _ *http.Request) {
			s.names = []string{"host", "x-absent", "x-amz-date", "x-amz-target"}
		}, InvalidSignature, "does not match"},
		{"a signed header the signer passes over", func(s *signer, r *http.Request) { r.Header.Set("User-Agent", "x") }, InvalidSignature, "does not match"},
		{"hash of no body", func(s *signer, _ *http.Request) { s.hash = hexHash(nil) }, InvalidSignature, "does not match"},
		{"content not signed", func(s *signer, r *http.Request) {
			s.hash = "UNSIGNED-PAYLOAD"
			r.Header.Set(headerHash, s.hash)
		}, InvalidSignature, "not the hash of the body"},
		{"query that cannot be read", func(s *signer, r *http.Request) { r.URL.RawQuery = "a=1&b=%zz" }, InvalidSignature, "does not match"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, s := request(), w.signer(w.user)
			tt.prepare(&s, r)
			s.sign(r, testBody)
			if err := checkVerify(t, w, r, testBody, tt.code); err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %q, want %q in it", err, tt.text)
			}
		})
	}
}

// A signed URL is no signature in a header.
func TestVerifySignedURL(t *testing.T) {
	w := newWorld(t)
	r := request()
	r.URL.RawQuery = url.Values{
		"X-Amz-Algorithm": {algorithm}, "X-Amz-Credential": {w.user.AccessKeyID + "/20260301/us-east-1/kms/aws4_request"},
		"X-Amz-Date": {"20260301T120000Z"}, "X-Amz-Expires": {"300"}, "X-Amz-SignedHeaders": {"host"}, "X-Amz-Signature": {goodSignature},
	}.Encode()
	checkVerify(t, w, r, testBody, MissingToken)
}

func checkVerify(t *testing.T, w *world, r *http.Request, body []byte, code string) error {
	t.Helper()
	who, err := w.verifier.Verify(r, body)
	if got := codeOf(t, err); got != code {
		t.Errorf("got %q (%v), want %q", got, err, code)
	}
	if err == nil {
		return nil
	}
	if !reflect.DeepEqual(who, iam.Identity{}) {
		t.Errorf("an identity with the error: %v", who)
	}
	for _, c := range []iam.Credentials{w.user, w.session} {
		for _, secret := range []string{c.SecretAccessKey, c.SessionToken} {
			if secret != "" && strings.Contains(err.Error(), secret) {
				t.Errorf("a secret is in %q", err)
			}
		}
	}
	return err
}
