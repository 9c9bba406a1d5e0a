package sigv4

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzAuthorization reads any header. What is taken has been within bounds, and
// written again from its parts it is taken for the same.
func FuzzAuthorization(f *testing.F) {
	f.Add(goodHeader, "20260301T120000Z")
	f.Add(strings.ReplaceAll(goodHeader, ", ", ","), "20260301T120000.5Z")
	f.Add("AWS4-HMAC-SHA256 "+strings.Repeat(",", 100), "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=;, Signature=", "20260230T120000Z")
	f.Add("AWS4-HMAC-SHA256 ===,=,=", "Sun, 01 Mar 2026 12:00:00 GMT")
	f.Add("Basic YTpi", "00000000T000000Z")
	f.Fuzz(func(t *testing.T, header, date string) {
		a, err := parse(http.Header{headerAuthorization: {header}, headerDate: {date}})
		if err != nil {
			codeOf(t, err)
			if len(err.Message) > 300 {
				t.Errorf("the message has %d bytes", len(err.Message))
			}
			return
		}
		if len(header) > maxHeader || len(a.signedHeaders) > maxHeaders || a.at.Format(dateForm) != date {
			t.Errorf("out of bounds: %+v", a)
		}
		again := "AWS4-HMAC-SHA256 Credential=" + a.accessKeyID + "/" + a.date + "/" + a.region + "/" + a.service +
			"/aws4_request, SignedHeaders=" + strings.Join(a.signedHeaders, ";") + ", Signature=" + a.signature
		b, problem := parseAuthorization(again)
		if problem != "" || b.accessKeyID != a.accessKeyID || b.signature != a.signature ||
			strings.Join(b.signedHeaders, ";") != strings.Join(a.signedHeaders, ";") {
			t.Errorf("written again as %q: %s", again, problem)
		}
	})
}

// FuzzVerify signs any request by the description of the signature and has it let
// through, and sends it with another body, signature or header, and has it refused.
func FuzzVerify(f *testing.F) {
	w := newWorld(f)
	f.Add("POST", "/", testHost, testTarget, "X-Other", "a  b", testBody, "Signature")
	f.Add("GET", "/a%20b/%C3%A9?x=%2F&x=-&y", "127.0.0.1:8443", "", "Content-Type", testType, []byte(nil), "host")
	f.Add("POST", "//a/../b?+=+&%00=%ff", "[::1]:443", " t ", "Content-Length", "12", []byte{0, 255}, "Credential")
	f.Add("POST", "/?a;b", testHost, "t", "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD", []byte("x"), "x")
	f.Add("PUT", "x:y", "h", "t", "X-Amz-Date", "20260301T120000Z", []byte("x"), "")
	f.Add("POST", "/", "h", "t", "User-Agent", "a", []byte("x"), "AWS4")
	f.Fuzz(func(t *testing.T, method, target, host, operation, name, value string, body []byte, cut string) {
		r, err := http.ReadRequest(bufferOf(method, target, host, operation, name, value, body))
		if err != nil {
			return // no server would have let it through
		}
		// Whatever was in it, it is not signed.
		checkRefused(t, w, r, body)

		s := w.signer(w.session)
		ignored := strings.EqualFold(name, "User-Agent") || strings.EqualFold(name, "X-Amzn-Trace-Id") || strings.EqualFold(name, "Expect")
		if r.ContentLength >= 0 {
			delete(r.Header, "Content-Length") // the server has it as a number
		}
		s.sign(r, body)
		signed := r.Header.Get(headerAuthorization)
		_, err = w.verifier.Verify(r, body)
		if err != nil {
			// One of the reasons in the package comment, or what nobody could sign.
			switch {
			case ignored, r.URL.Opaque != "", len(signed) > maxHeader, r.Header[headerHash] != nil:
			case !tokens(r.Header), !queryReads(r), hasOtherSpace(r.Header):
			default:
				t.Errorf("refused: %v\n%s %s host %q %q", err, method, r.URL, r.Host, r.Header)
			}
			return
		}
		checkRefused(t, w, r, append(bytes.Clone(body), 'x'))
		if i := strings.Index(signed, cut); i >= 0 && strings.Trim(cut, " ,") != "" {
			r.Header.Set(headerAuthorization, signed[:i]+signed[i+len(cut):])
			checkRefused(t, w, r, body)
			r.Header.Set(headerAuthorization, signed)
		}
		r.Host += "x"
		checkRefused(t, w, r, body)
	})
}

func checkRefused(t *testing.T, w *world, r *http.Request, body []byte) {
	t.Helper()
	who, err := w.verifier.Verify(r, body)
	if err == nil {
		t.Fatalf("let through as %v: %s %s host %q %q", who, r.Method, r.URL, r.Host, r.Header)
	}
	codeOf(t, err)
}

// FuzzVerifyHeaders gives headers of any value to a request and never lets it
// through: none of them knows a secret.
func FuzzVerifyHeaders(f *testing.F) {
	w := newWorld(f)
	f.Add(goodHeader, "20260301T120000Z", "", "")
	f.Add(strings.Replace(goodHeader, "AKIAABCDEFGHIJKLMNOP", w.user.AccessKeyID, 1), "20260301T120000Z", "", hexHash(testBody))
	f.Add(strings.NewReplacer("AKIAABCDEFGHIJKLMNOP", w.session.AccessKeyID, "host;", "content-length;host;").Replace(goodHeader), "20260301T120000Z", w.session.SessionToken, "UNSIGNED-PAYLOAD")
	f.Fuzz(func(t *testing.T, authorization, date, token, hash string) {
		r := httptest.NewRequest(http.MethodPost, "http://"+testHost+"/", nil)
		r.Header = http.Header{headerAuthorization: {authorization}, headerDate: {date}}
		if token != "" {
			r.Header[headerToken] = []string{token}
		}
		if hash != "" {
			r.Header[headerHash] = []string{hash}
		}
		// Two known access keys, so that the fuzzer gets as far as the signature.
		for _, id := range []string{w.user.AccessKeyID, w.session.AccessKeyID} {
			r.Header[headerAuthorization] = []string{strings.Replace(authorization, "AKIAABCDEFGHIJKLMNOP", id, 1)}
			checkRefused(t, w, r, testBody)
		}
	})
}

// bufferOf is a request on its way to a server.
func bufferOf(method, target, host, operation, name, value string, body []byte) *bufio.Reader {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Amz-Target: %s\r\n%s: %s\r\n", method, target, host, operation, name, value)
	if !strings.EqualFold(name, "Content-Length") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return bufio.NewReader(&b)
}

// tokens reports whether the names of headers are ones that can be in a list of
// signed headers.
func tokens(h http.Header) bool {
	if len(h) > maxHeaders {
		return false
	}
	for name := range h {
		if len(name) > 256 {
			return false
		}
	}
	return true
}

func queryReads(r *http.Request) bool {
	_, err := url.ParseQuery(r.URL.RawQuery)
	return err == nil
}

// hasOtherSpace reports white space in a value that implementations differ about.
func hasOtherSpace(h http.Header) bool {
	for _, values := range h {
		for _, v := range values {
			if strings.TrimSpace(v) != strings.Trim(v, " ") {
				return true
			}
		}
	}
	return false
}
