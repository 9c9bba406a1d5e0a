package sigv4

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

// The signatures are those of AWS's test suite for Signature Version 4 ("aws-sig-v4-
// test-suite"), whose credentials are public.
func TestKnownSignatures(t *testing.T) {
	tests := []struct {
		name, method, target string
		header               [][2]string
		body                 string
		signed               string
		signature            string
	}{
		{"get-vanilla", "GET", "/", nil, "", "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"post-vanilla", "POST", "/", nil, "", "host;x-amz-date",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", nil, "", "host;x-amz-date",
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"post-x-www-form-urlencoded", "POST", "/", [][2]string{{"Content-Type", "application/x-www-form-urlencoded"}},
			"Param1=value1", "content-type;host;x-amz-date",
			"ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		{"post-header-key-sort", "POST", "/", [][2]string{{"My-Header1", "value1"}}, "", "host;my-header1;x-amz-date",
			"c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"get-header-value-trim", "GET", "/", [][2]string{{"My-Header1", " value1"}, {"My-Header2", ` "a   b   c"`}}, "",
			"host;my-header1;my-header2;x-amz-date",
			"acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"get-header-key-duplicate", "GET", "/", [][2]string{{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}}, "",
			"host;my-header1;x-amz-date",
			"c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
	}
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	v := &Verifier{
		Region: "us-east-1", Service: "service", Now: func() time.Time { return at },
		Lookup: func(id string) (iam.Identity, bool) {
			return iam.Identity{AccessKeyID: id, Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}, id == "AKIDEXAMPLE"
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "http://example.amazonaws.com"+tt.target, strings.NewReader(tt.body))
			for _, h := range tt.header {
				r.Header.Add(h[0], h[1])
			}
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			authorization := func(signature string) string {
				return "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" +
					tt.signed + ", Signature=" + signature
			}
			r.Header.Set("Authorization", authorization(tt.signature))
			who, err := v.Verify(r, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if who.AccessKeyID != "AKIDEXAMPLE" {
				t.Errorf("signed by %q", who.AccessKeyID)
			}
			last := byte('0')
			if tt.signature[63] == last {
				last = '1'
			}
			r.Header.Set("Authorization", authorization(tt.signature[:63]+string(last)))
			if _, err := v.Verify(r, []byte(tt.body)); codeOf(t, err) != InvalidSignature {
				t.Errorf("with another signature: %v", err)
			}
		})
	}
}

// The signer of these tests gives the known signatures too, or it would be no
// measure of Verify.
func TestReferenceSigner(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://example.amazonaws.com/?Param2=value2&Param1=value1", nil)
	signer{
		credentials: iam.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
		at:          time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC), region: "us-east-1", service: "service",
	}.sign(r, nil)
	const want = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
	if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, "Signature="+want) {
		t.Errorf("got %s", got)
	}
}
