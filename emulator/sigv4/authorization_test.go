package sigv4

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	goodScope     = "AKIAABCDEFGHIJKLMNOP/20260301/us-east-1/kms/aws4_request"
	goodSignature = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	goodHeader    = "AWS4-HMAC-SHA256 Credential=" + goodScope + ", SignedHeaders=host;x-amz-date, Signature=" + goodSignature
)

func TestParse(t *testing.T) {
	want := &authorization{
		accessKeyID: "AKIAABCDEFGHIJKLMNOP", date: "20260301", region: "us-east-1", service: "kms",
		signedHeaders: []string{"host", "x-amz-date"}, signature: goodSignature,
		at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	for _, tt := range []struct{ name, header string }{
		{"as the SDK writes it", goodHeader},
		{"no spaces", strings.ReplaceAll(goodHeader, ", ", ",")},
		{"more spaces", strings.ReplaceAll(goodHeader, ", ", "  ,  ")},
		{"another order", "AWS4-HMAC-SHA256 Signature=" + goodSignature + ",SignedHeaders=host;x-amz-date,Credential=" + goodScope},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(http.Header{headerAuthorization: {tt.header}, headerDate: {"20260301T120000Z"}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(authorization{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseRefused(t *testing.T) {
	with := func(old, replacement string) []string {
		return []string{strings.Replace(goodHeader, old, replacement, 1)}
	}
	many := make([]string, maxHeaders+1)
	for i := range many {
		many[i] = "h" + string(rune('0'+i/10)) + string(rune('0'+i%10))
	}
	good := []string{"20260301T120000Z"}
	const (
		list       = "is not a list of Credential, SignedHeaders and Signature"
		credential = "'Credential' is not of the form"
		signed     = "'SignedHeaders' is not a sorted list"
		digits     = "'Signature' is not 64 lower-case hexadecimal digits"
		dateText   = "'X-Amz-Date' header is not of the form"
	)
	tests := []struct {
		name          string
		authorization []string
		date          []string
		code, text    string
	}{
		{"none", nil, good, MissingToken, "Missing Authentication Token"},
		{"empty", []string{""}, good, MissingToken, "Missing Authentication Token"},
		{"twice", []string{goodHeader, goodHeader}, good, Incomplete, "allowed once"},
		{"too long", []string{goodHeader + strings.Repeat(" ", maxHeader)}, good, Incomplete, "at most 8192 bytes"},
		{"basic", []string{"Basic YTpi"}, good, Incomplete, "requires the algorithm AWS4-HMAC-SHA256"},
		{"algorithm alone", []string{"AWS4-HMAC-SHA256"}, good, Incomplete, "requires the algorithm"},
		{"algorithm in lower case", with("AWS4", "aws4"), good, Incomplete, "requires the algorithm"},
		{"SigV4a", with("HMAC-SHA256", "ECDSA-P256-SHA256"), good, Incomplete, "requires the algorithm"},
		{"nothing after the algorithm", []string{"AWS4-HMAC-SHA256 "}, good, Incomplete, list},
		{"commas", []string{"AWS4-HMAC-SHA256 " + strings.Repeat(",", 4000)}, good, Incomplete, list},
		{"comma at the end", []string{goodHeader + ","}, good, Incomplete, list},
		{"a fourth part", []string{goodHeader + ", Extra=1"}, good, Incomplete, list},
		{"a part twice", with("SignedHeaders=host;x-amz-date", "Credential="+goodScope), good, Incomplete, list},
		{"tab", with(", ", ",\t"), good, Incomplete, "requires 'SignedHeaders' parameter"},
		{"no credential", with("Credential="+goodScope+", ", ""), good, Incomplete, "requires 'Credential' parameter"},
		{"no signed headers", with("SignedHeaders=host;x-amz-date, ", ""), good, Incomplete, "requires 'SignedHeaders' parameter"},
		{"no signature", with(", Signature="+goodSignature, ""), good, Incomplete, "requires 'Signature' parameter"},
		{"empty signature", with(goodSignature, ""), good, Incomplete, "requires 'Signature' parameter"},
		{"short signature", with(goodSignature, goodSignature[1:]), good, Incomplete, digits},
		{"long signature", with(goodSignature, goodSignature+"0"), good, Incomplete, digits},
		{"signature in upper case", with("abcdef", "ABCDEF"), good, Incomplete, digits},
		{"signature with a line end", with(goodSignature, goodSignature+"\n"), good, Incomplete, digits},
		{"scope of four", with("/aws4_request", ""), good, Incomplete, credential},
		{"scope of six", with("/kms/", "/kms/x/"), good, Incomplete, credential},
		{"other terminator", with("aws4_request", "aws5_request"), good, Incomplete, credential},
		{"no access key id", with("AKIAABCDEFGHIJKLMNOP", ""), good, Incomplete, credential},
		{"access key id of other characters", with("AKIA", "AK-A"), good, Incomplete, credential},
		{"access key id too long", with("AKIA", strings.Repeat("A", 128)), good, Incomplete, credential},
		{"date of seven", with("/20260301/", "/2026031/"), good, Incomplete, credential},
		{"date with letters", with("/20260301/", "/2026MAR1/"), good, Incomplete, credential},
		{"no region", with("/us-east-1/", "//"), good, Incomplete, credential},
		{"region of other characters", with("/us-east-1/", "/us_east_1\x00/"), good, Incomplete, credential},
		{"region too long", with("/us-east-1/", "/"+strings.Repeat("a", 65)+"/"), good, Incomplete, credential},
		{"no service", with("/kms/", "//"), good, Incomplete, credential},
		{"headers not sorted", with("host;x-amz-date", "x-amz-date;host"), good, Incomplete, signed},
		{"a header twice", with("host;", "host;host;"), good, Incomplete, signed},
		{"header in upper case", with("host", "Host"), good, Incomplete, signed},
		{"empty header name", with("host;", ";host;"), good, Incomplete, signed},
		{"semicolon at the end", with("x-amz-date,", "x-amz-date;,"), good, Incomplete, signed},
		{"header name with a colon", with("host;", "a:b;host;"), good, Incomplete, signed},
		{"header name not ASCII", with("x-amz-date", "x-amz-ſate"), good, Incomplete, signed},
		{"header name too long", with("host", "h"+strings.Repeat("h", 256)), good, Incomplete, signed},
		{"too many headers", with("host;x-amz-date", strings.Join(many, ";")), good, Incomplete, "more than 64 names"},
		{"no date", []string{goodHeader}, nil, Incomplete, "requires existence of one 'X-Amz-Date'"},
		{"two dates", []string{goodHeader}, []string{good[0], good[0]}, Incomplete, "requires existence of one 'X-Amz-Date'"},
		{"empty date", []string{goodHeader}, []string{""}, Incomplete, dateText},
		{"date of HTTP", []string{goodHeader}, []string{"Sun, 01 Mar 2026 12:00:00 GMT"}, Incomplete, dateText},
		{"date with a fraction", []string{goodHeader}, []string{"20260301T120000.5Z"}, Incomplete, dateText},
		{"date with an offset", []string{goodHeader}, []string{"20260301T120000+0000"}, Incomplete, dateText},
		{"30 February", []string{goodHeader}, []string{"20260230T120000Z"}, Incomplete, dateText},
		{"hour 24", []string{goodHeader}, []string{"20260301T240000Z"}, Incomplete, dateText},
		{"leap second", []string{goodHeader}, []string{"20260301T235960Z"}, Incomplete, dateText},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := parse(http.Header{headerAuthorization: tt.authorization, headerDate: tt.date})
			if err == nil {
				t.Fatalf("accepted: %+v", a)
			}
			if codeOf(t, err) != tt.code || !strings.Contains(err.Message, tt.text) {
				t.Errorf("got %q, want %s with %q", err, tt.code, tt.text)
			}
			if strings.Contains(err.Error(), goodSignature[1:]) {
				t.Errorf("the signature is in %q", err)
			}
		})
	}
}
