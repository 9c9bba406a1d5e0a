package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testAccount = "111122223333"
	testRegion  = "us-east-1"
	testHost    = "kms.us-east-1.amazonaws.com"
	testTarget  = "TrentService.Decrypt"
	testType    = "application/x-amz-json-1.1"
)

var (
	testBody = []byte(`{"CiphertextBlob":"AQICAH"}`)
	testNow  = time.Date(2026, 3, 1, 12, 0, 0, 700_000_000, time.UTC)
)

// A world has a user, a session of a role, and who verifies them at testNow.
type world struct {
	directory *iam.Directory
	now       time.Time
	user      iam.Credentials
	session   iam.Credentials // an hour
	verifier  *Verifier
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{now: testNow}
	clock := func() time.Time { return w.now }
	w.directory = iam.NewDirectory(testAccount, clock, nil)
	user, err := w.directory.CreateUser(testAccount, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if w.user, err = w.directory.CreateAccessKey(user); err != nil {
		t.Fatal(err)
	}
	role, err := w.directory.CreateRole(testAccount, "parent")
	if err != nil {
		t.Fatal(err)
	}
	if w.session, err = w.directory.AssumeRole(role, "i-0a1b2c3d4e5f60718", time.Hour); err != nil {
		t.Fatal(err)
	}
	w.verifier = &Verifier{Region: testRegion, Service: "kms", Now: clock, Lookup: w.directory.Lookup}
	return w
}

// request is one that a client of the service would make, not signed.
func request() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://"+testHost+"/", bytes.NewReader(testBody))
	r.Header.Set("Content-Type", testType)
	r.Header.Set("X-Amz-Target", testTarget)
	return r
}

// A signer signs by the description in the IAM user guide ("Create a signed AWS API
// request"), with none of the code of the SDK. It is what Verify is compared with.
type signer struct {
	credentials     iam.Credentials
	at              time.Time
	region, service string
	names           []string // of signed headers; nil: host, those of the request
	token           bool     // send the session token
	date            string   // of the scope; "" is that of at
	hash            string   // of the body; "" is that of body
}

func (w *world) signer(c iam.Credentials) signer {
	return signer{credentials: c, at: w.now, region: testRegion, service: "kms", token: c.SessionToken != ""}
}

func (s signer) sign(r *http.Request, body []byte) {
	r.Header.Set(headerDate, s.at.UTC().Format(dateForm))
	if s.token {
		r.Header.Set(headerToken, s.credentials.SessionToken)
	}
	names := s.names
	if names == nil {
		names = []string{"host"}
		for name := range r.Header {
			names = append(names, strings.ToLower(name))
		}
		slices.Sort(names)
	}
	var headers strings.Builder
	for _, name := range names {
		values := slices.Clone(r.Header[textproto.CanonicalMIMEHeaderKey(name)])
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		for i, v := range values {
			values[i] = strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' }), " ")
		}
		headers.WriteString(name + ":" + strings.Join(values, ",") + "\n")
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	date := s.date
	if date == "" {
		date = s.at.UTC().Format("20060102")
	}
	hash := s.hash
	if hash == "" {
		hash = hexHash(body)
	}
	scope := strings.Join([]string{date, s.region, s.service, "aws4_request"}, "/")
	canonical := strings.Join([]string{
		r.Method, encode(path, "/"), canonicalQuery(r), headers.String(), strings.Join(names, ";"), hash,
	}, "\n")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", s.at.UTC().Format(dateForm), scope, hexHash([]byte(canonical))}, "\n")
	key := []byte("AWS4" + s.credentials.SecretAccessKey)
	for _, part := range []string{date, s.region, s.service, "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	r.Header.Set(headerAuthorization, "AWS4-HMAC-SHA256 Credential="+s.credentials.AccessKeyID+"/"+scope+
		", SignedHeaders="+strings.Join(names, ";")+", Signature="+hex.EncodeToString(key))
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// encode escapes all but unreserved characters (RFC 3986, section 2.3) and keep.
func encode(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~"+keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
	}
	return b.String()
}

func canonicalQuery(r *http.Request) string {
	var pairs [][2]string
	for name, values := range r.URL.Query() {
		for _, v := range values {
			pairs = append(pairs, [2]string{encode(name, ""), encode(v, "")})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var all []string
	for _, p := range pairs {
		all = append(all, p[0]+"="+p[1])
	}
	return strings.Join(all, "&")
}

// codeOf is the code of an error of Verify, "" for nil.
func codeOf(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is a %T, not *Error: %v", err, err)
	}
	if e.Status != http.StatusBadRequest {
		t.Errorf("status of %v is %d, want 400", err, e.Status)
	}
	return e.Code
}
