package imds

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The whole tree, as a client that follows the lists sees it.
func TestTree(t *testing.T) {
	s := service(t, func(c *Config) { c.UserData = []byte("#!/bin/sh\necho \x00 hi\n") })
	got := map[string]string{}
	var walk func(path string)
	walk = func(path string) {
		for name := range strings.SplitSeq(get(t, s, path), "\n") {
			switch {
			case strings.HasSuffix(name, "/"), path == "/latest/" && name != "user-data":
				walk(path + strings.TrimSuffix(name, "/") + "/")
			default:
				got[path+name] = get(t, s, path+name)
			}
		}
	}
	walk("/latest/")
	for _, signature := range []string{"signature", "pkcs7", "rsa2048"} { // in TestIdentity
		delete(got, "/latest/dynamic/instance-identity/"+signature)
	}
	const meta = "/latest/meta-data/"
	want := map[string]string{
		"/latest/user-data":                       "#!/bin/sh\necho \x00 hi\n",
		"/latest/dynamic/fws/instance-monitoring": "disabled",
		"/latest/dynamic/instance-identity/document": `{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "us-east-1a",
  "billingProducts" : null,
  "devpayProductCodes" : null,
  "marketplaceProductCodes" : null,
  "imageId" : "ami-0fedcba9876543210",
  "instanceId" : "i-0123456789abcdef0",
  "instanceType" : "m5.xlarge",
  "kernelId" : null,
  "pendingTime" : "2026-11-23T09:51:41Z",
  "privateIp" : "172.31.0.10",
  "ramdiskId" : null,
  "region" : "us-east-1",
  "version" : "2017-09-30"
}`,
		meta + "ami-id":              "ami-0fedcba9876543210",
		meta + "ami-launch-index":    "0",
		meta + "ami-manifest-path":   "(unknown)",
		meta + "hostname":            "ip-172-31-0-10.ec2.internal",
		meta + "instance-action":     "none",
		meta + "instance-id":         "i-0123456789abcdef0",
		meta + "instance-life-cycle": "on-demand",
		meta + "instance-type":       "m5.xlarge",
		meta + "local-hostname":      "ip-172-31-0-10.ec2.internal",
		meta + "local-ipv4":          "172.31.0.10",
		meta + "iam/info": `{
  "Code" : "Success",
  "LastUpdated" : "2026-11-23T09:51:41Z",
  "InstanceProfileArn" : "arn:aws:iam::123456789012:instance-profile/parent",
  "InstanceProfileId" : "` + profileID("arn:aws:iam::123456789012:instance-profile/parent") + `"
}`,
		meta + "iam/security-credentials/parent": `{
  "Code" : "Success",
  "LastUpdated" : "2026-11-23T09:52:41Z",
  "Type" : "AWS-HMAC",
  "AccessKeyId" : "ASIAEXAMPLEEXAMPLE01",
  "SecretAccessKey" : "s3cret+/s3cret",
  "Token" : "t0ken==",
  "Expiration" : "2026-11-23T15:51:41Z"
}`,
		meta + "placement/availability-zone":    "us-east-1a",
		meta + "placement/availability-zone-id": "use1-az1",
		meta + "placement/region":               "us-east-1",
		meta + "profile":                        "default-hvm",
		meta + "reservation-id":                 "r-0123456789abcdef0",
		meta + "security-groups":                "default",
		meta + "services/domain":                "amazonaws.com",
		meta + "services/partition":             "aws",
		meta + "system":                         "nitro",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

// Lists are the same with and without a slash, and in every version.
func TestLists(t *testing.T) {
	s := service(t)
	for path, want := range map[string]string{
		"/":                              strings.Join(versions, "\n"),
		"/latest":                        "dynamic\nmeta-data",
		"/2021-03-23/":                   "dynamic\nmeta-data",
		"/latest/dynamic":                "fws/\ninstance-identity/",
		"/latest/meta-data/placement":    "availability-zone\navailability-zone-id\nregion",
		"/2009-04-04/meta-data/services": "domain\npartition",
		"/latest/meta-data/iam/":         "info\nsecurity-credentials/",
		"/latest/meta-data/iam/security-credentials":    "parent",
		"/latest/meta-data/iam/security-credentials/":   "parent",
		"//latest//meta-data//iam/security-credentials": "parent",
		"/latest/meta-data/instance-id/":                "i-0123456789abcdef0",
	} {
		if diff := cmp.Diff(want, get(t, s, path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

func TestStatus(t *testing.T) {
	c := &clock{now: launched}
	s := service(t, func(cfg *Config) { cfg.Clock = c.Now })
	good := token(t, s)
	other := token(t, service(t))
	old := request(t, s, http.MethodPut, tokenPath, ttlHeader, "5").Body.String()
	c.advance(5 * time.Second)
	const id = "/latest/meta-data/instance-id"
	tests := []struct {
		name, method, path string
		headers            []string
		want               int
	}{
		{"token", "PUT", tokenPath, []string{ttlHeader, "21600"}, 200},
		{"token without a life", "PUT", tokenPath, nil, 400},
		{"token with a life of 0", "PUT", tokenPath, []string{ttlHeader, "0"}, 400},
		{"token with a longer life", "PUT", tokenPath, []string{ttlHeader, "21601"}, 400},
		{"token with two lives", "PUT", tokenPath, []string{ttlHeader, "60", ttlHeader, "60"}, 400},
		{"token through a proxy", "PUT", tokenPath, []string{ttlHeader, "60", "X-Forwarded-For", "10.0.0.1"}, 403},
		{"token through a proxy that says nothing", "PUT", tokenPath, []string{ttlHeader, "60", "X-Forwarded-For", ""}, 403},
		{"token by GET", "GET", tokenPath, []string{tokenHeader, good}, 405},
		{"token by POST", "POST", tokenPath, []string{ttlHeader, "60"}, 405},
		{"token below a version", "PUT", "/2021-03-23/api/token", []string{ttlHeader, "60"}, 405},
		{"item", "GET", id, []string{tokenHeader, good}, 200},
		{"item through a proxy", "GET", id, []string{tokenHeader, good, "X-Forwarded-For", "10.0.0.1"}, 200},
		{"HEAD", "HEAD", id, []string{tokenHeader, good}, 200},
		{"no token", "GET", id, nil, 401},
		{"empty token", "GET", id, []string{tokenHeader, ""}, 401},
		{"token of another instance", "GET", id, []string{tokenHeader, other}, 401},
		{"token whose life has ended", "GET", id, []string{tokenHeader, old}, 401},
		{"two tokens", "GET", id, []string{tokenHeader, good, tokenHeader, good}, 401},
		{"nothing there, and no token", "GET", "/latest/meta-data/no", nil, 401},
		{"nothing there", "GET", "/latest/meta-data/no", []string{tokenHeader, good}, 404},
		{"below an item", "GET", id + "/x", []string{tokenHeader, good}, 404},
		{"up", "GET", "/latest/meta-data/../meta-data", []string{tokenHeader, good}, 404},
		{"no such version", "GET", "/2000-01-01/meta-data", []string{tokenHeader, good}, 404},
		{"no user data", "GET", "/latest/user-data", []string{tokenHeader, good}, 404},
		{"api", "GET", "/latest/api", []string{tokenHeader, good}, 404},
		{"no path", "GET", "", []string{tokenHeader, good}, 200},
		{"POST", "POST", id, []string{tokenHeader, good}, 405},
		{"PUT", "PUT", id, []string{tokenHeader, good}, 405},
		{"DELETE", "DELETE", id, nil, 405},
		{"OPTIONS", "OPTIONS", "*", nil, 405},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := request(t, s, tt.method, tt.path, tt.headers...)
			if w.Code != tt.want {
				t.Errorf("status %d, want %d", w.Code, tt.want)
			}
			kind := map[int]string{200: "text/plain", 405: "text/plain"}[tt.want]
			if kind == "" {
				kind = "text/html"
				if title := fmt.Sprintf("<h1>%d - %s</h1>", tt.want, http.StatusText(tt.want)); !strings.Contains(w.Body.String(), title) {
					t.Errorf("page %q", w.Body)
				}
			}
			if got := w.Header().Get("Content-Type"); got != kind {
				t.Errorf("type %q, want %q", got, kind)
			}
			if got := w.Header().Get("Server"); got != "EC2ws" {
				t.Errorf("server %q", got)
			}
			if got := w.Header().Get(ttlHeader); (got != "") != (tt.want == 200 || tt.want == 404) {
				t.Errorf("life %q with status %d", got, tt.want)
			}
		})
	}
}

// A method that is refused comes with those that are not.
func TestAllow(t *testing.T) {
	s := service(t)
	for path, want := range map[string]string{tokenPath: "OPTIONS, PUT", "/latest": "GET, HEAD"} {
		if got := request(t, s, "POST", path).Header().Get("Allow"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// Answers say how long the token lives yet, and when the item changed.
func TestHeaders(t *testing.T) {
	c := &clock{now: launched}
	s := service(t, func(cfg *Config) { cfg.Clock = c.Now })
	w := request(t, s, http.MethodPut, tokenPath, ttlHeader, "60")
	if got := w.Header().Get(ttlHeader); got != "60" {
		t.Errorf("life %q of a new token", got)
	}
	c.advance(10500 * time.Millisecond)
	w = request(t, s, http.MethodGet, "/latest/meta-data/iam/security-credentials/parent", tokenHeader, w.Body.String())
	want := map[string]string{ttlHeader: "50", "Last-Modified": "Mon, 23 Nov 2026 09:52:41 GMT", "Accept-Ranges": "none", "Content-Type": "text/plain"}
	for name, want := range want {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// With version 1 no token is needed, but a bad one is one.
func TestV1(t *testing.T) {
	s := service(t, func(c *Config) { c.V1 = true })
	for _, tt := range []struct {
		headers []string
		want    int
	}{{nil, 200}, {[]string{tokenHeader, "bad"}, 401}, {[]string{tokenHeader, token(t, s)}, 200}} {
		if got := request(t, s, "GET", "/latest/meta-data/instance-id", tt.headers...).Code; got != tt.want {
			t.Errorf("%v: status %d, want %d", tt.headers, got, tt.want)
		}
	}
}

// An instance without a role has no folder iam.
func TestNoRole(t *testing.T) {
	s := service(t, func(c *Config) { c.Role, c.Credentials = "", nil })
	if got := get(t, s, "/latest/meta-data/"); strings.Contains(got, "iam") {
		t.Errorf("list %q", got)
	}
	for _, path := range []string{"/latest/meta-data/iam/info", "/latest/meta-data/iam/security-credentials/"} {
		if got := request(t, s, "GET", path, tokenHeader, token(t, s)).Code; got != 404 {
			t.Errorf("%s: status %d", path, got)
		}
	}
}

// FuzzServe gives the service requests of all kinds. It never gives anything away
// without a token.
func FuzzServe(f *testing.F) {
	s := service(f)
	f.Add("GET", "/latest/meta-data/iam/security-credentials/parent", "", "")
	f.Add("PUT", tokenPath, "21600", "")
	f.Add("GET", "/latest/api/token/..//..", "", token(f, s))
	f.Add("HEAD", "/%2e%2e/\x00", "-1", "AQAAA")
	f.Fuzz(func(t *testing.T, method, path, ttl, tok string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: path}, Header: http.Header{ttlHeader: {ttl}, tokenHeader: {tok}}}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(t.Context()))
		_, goodTTL := parseTTL(ttl)
		switch {
		case w.Code == 200 && s.tokens.left(tok) == 0 && !(method == "PUT" && path == tokenPath && goodTTL):
			t.Errorf("%q %q: %s", method, path, w.Body)
		case w.Code != 200 && (strings.Contains(w.Body.String(), "s3cret") || w.Body.Len() > 1000):
			t.Errorf("%q %q: %s", method, path, w.Body)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s := service(b)
	tok := token(b, s)
	r := httptest.NewRequest("GET", "http://169.254.169.254/latest/meta-data/placement/region", nil)
	r.Header.Set(tokenHeader, tok)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
