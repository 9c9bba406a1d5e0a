package imds

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// launched is when the instance of the tests was.
var launched = time.Date(2026, 11, 23, 9, 51, 41, 123456789, time.UTC)

const role = "arn:aws:iam::123456789012:role/service/parent"

// signer is a key with its certificate, of the form of AWS's own.
var signer = sync.OnceValue(func() (s struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}) {
	var err error
	if s.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	name := pkix.Name{Country: []string{"US"}, Province: []string{"Washington State"}, Locality: []string{"Seattle"}, Organization: []string{"nitrolab emulated services"}}
	tmpl := &x509.Certificate{SerialNumber: new(big.Int).Lsh(big.NewInt(0x96), 56), Subject: name, NotBefore: launched.AddDate(-1, 0, 0), NotAfter: launched.AddDate(100, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, s.key.Public(), s.key)
	if err != nil {
		panic(err)
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	return s
})

// A clock is set by tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var credentials = Credentials{
	AccessKeyID: "ASIAEXAMPLEEXAMPLE01", SecretAccessKey: "s3cret+/s3cret", Token: "t0ken==",
	Expiration: launched.Add(6 * time.Hour), LastUpdated: launched.Add(time.Minute),
}

// config is that of an instance with a role.
func config(change ...func(*Config)) Config {
	c := Config{
		InstanceID: "i-0123456789abcdef0", Region: "us-east-1", AvailabilityZone: "us-east-1a", InstanceType: "m5.xlarge",
		ImageID: "ami-0fedcba9876543210", AccountID: "123456789012", PrivateIP: "172.31.0.10",
		Role: role, Credentials: func(context.Context) (Credentials, error) { return credentials, nil },
		SigningKey: signer().key, Certificate: signer().cert,
		Clock: func() time.Time { return launched },
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func service(t testing.TB, change ...func(*Config)) *Service {
	t.Helper()
	s, err := New(config(change...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request is the answer to one request. Headers are pairs of a name and a value.
func request(t testing.TB, s *Service, method, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "http://169.254.169.254/", nil)
	r.URL.Path = path
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// token is a token of a service with an hour to live.
func token(t testing.TB, s *Service) string {
	t.Helper()
	w := request(t, s, http.MethodPut, tokenPath, ttlHeader, "3600")
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	return w.Body.String()
}

// get is an item of a service.
func get(t testing.TB, s *Service, path string) string {
	t.Helper()
	w := request(t, s, http.MethodGet, path, tokenHeader, token(t, s))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d", path, w.Code)
	}
	return w.Body.String()
}

func TestNewRefuses(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // too short on purpose
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.InstanceID = "i-1\n2" }, `instance id is "i-1\n2"; allowed is i- and 8 or 17 hex digits`},
		{func(c *Config) { c.Region = "" }, `region is ""; allowed is of the form us-east-1`},
		{func(c *Config) { c.AvailabilityZone = "us-east-1" }, `availability zone is "us-east-1"; allowed is of the form us-east-1a`},
		{func(c *Config) { c.AvailabilityZone = "us-west-2a" }, `availability zone is "us-west-2a"; allowed is one of region us-east-1`},
		{func(c *Config) { c.AvailabilityZone = "us-east-11a" }, `availability zone is "us-east-11a"; allowed is one of region us-east-1`},
		{func(c *Config) { c.InstanceType = "m5 xlarge" }, `instance type is "m5 xlarge"; allowed is of the form m5.xlarge`},
		{func(c *Config) { c.ImageID = "ami-x" }, `image id is "ami-x"; allowed is ami- and 8 or 17 hex digits`},
		{func(c *Config) { c.AccountID = "12345678901" }, `account id is "12345678901"; allowed is 12 digits`},
		{func(c *Config) { c.PrivateIP = "fd00::1" }, `private IP is "fd00::1"; allowed is an IPv4 address`},
		{func(c *Config) { c.Hostname = "a_b" }, `host name is "a_b"; allowed is lower case letters, digits, dots and dashes`},
		{func(c *Config) { c.Architecture = "i386" }, `architecture is "i386"; allowed are x86_64 and arm64`},
		{func(c *Config) { c.UserData = make([]byte, MaxUserData+1) }, `user data has 16385 bytes; allowed are at most 16384`},
		{func(c *Config) { c.Role = "parent" }, `role is "parent"; allowed is an ARN of the form arn:aws:iam::123456789012:role/name`},
		{func(c *Config) { c.Role = "" }, `role is "", credentials given: true; allowed are both or neither`},
		{func(c *Config) { c.Credentials = nil }, `role is "` + role + `", credentials given: false; allowed are both or neither`},
		{func(c *Config) { c.SigningKey = nil }, `signing key is missing or of another size; allowed is RSA of 2048 bits`},
		{func(c *Config) { c.SigningKey = other }, `signing key is missing or of another size; allowed is RSA of 2048 bits`},
		{func(c *Config) { c.Certificate = nil }, `certificate is missing or of another key; allowed is one of the signing key`},
		{func(c *Config) { c.Certificate = &x509.Certificate{PublicKey: other.Public()} }, `certificate is missing or of another key; allowed is one of the signing key`},
		{func(c *Config) { c.Entropy = strings.NewReader("short") }, `draw key of tokens: unexpected EOF`},
	}
	for _, tt := range tests {
		s, err := New(config(tt.change))
		if s != nil || err == nil {
			t.Errorf("%s: no error", tt.want)
			continue
		}
		if diff := cmp.Diff("metadata service: "+tt.want, err.Error()); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	}
}

// Credentials do not print, however they are asked to.
func TestCredentialsDoNotPrint(t *testing.T) {
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credentials", credentials)
	for _, text := range []string{
		fmt.Sprint(credentials), fmt.Sprintf("%v %+v %#v %s %q %x", credentials, credentials, credentials, credentials, credentials, credentials),
		fmt.Sprintf("%+v", struct{ C Credentials }{credentials}), fmt.Sprintf("%v", &credentials), log.String(),
	} {
		if strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") || strings.Contains(text, "733363") {
			t.Errorf("printed: %s", text)
		}
		if !strings.Contains(text, redacted) {
			t.Errorf("printed %q without saying what it is", text)
		}
	}
}

// A failure to get credentials is an answer that SDKs understand. What went wrong
// is for the Host's log.
func TestNoCredentials(t *testing.T) {
	var log strings.Builder
	s := service(t, func(c *Config) {
		c.Credentials = func(context.Context) (Credentials, error) { return credentials, errors.New("role has been deleted") }
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	want := "{\n" +
		"  \"Code\" : \"AssumeRoleUnauthorizedAccess\",\n" +
		"  \"Message\" : \"EC2 cannot assume the role " + role + "\",\n" +
		"  \"LastUpdated\" : \"2026-11-23T09:51:41Z\"\n}"
	if diff := cmp.Diff(want, get(t, s, "/latest/meta-data/iam/security-credentials/parent")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if !strings.Contains(log.String(), "role has been deleted") || strings.Contains(log.String(), "s3cret") {
		t.Errorf("log %q", log.String())
	}
}

// Whoever gives credentials has less time than clients have.
func TestCredentialsTimeout(t *testing.T) {
	var left time.Duration
	s := service(t, func(c *Config) {
		c.Credentials = func(ctx context.Context) (Credentials, error) {
			end, _ := ctx.Deadline()
			left = time.Until(end)
			return credentials, nil
		}
	})
	get(t, s, "/latest/meta-data/iam/security-credentials/parent")
	if left <= 0 || left > credentialsTimeout {
		t.Errorf("time left %v, want at most %v", left, credentialsTimeout)
	}
}

func TestRegions(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1":      "aws amazonaws.com ec2.internal use1-az2",
		"ap-southeast-2": "aws amazonaws.com ap-southeast-2.compute.internal apse2-az2",
		"ap-northeast-1": "aws amazonaws.com ap-northeast-1.compute.internal apne1-az2",
		"ca-central-1":   "aws amazonaws.com ca-central-1.compute.internal cac1-az2",
		"cn-north-1":     "aws-cn amazonaws.com.cn cn-north-1.compute.internal cnn1-az2",
		"cn-northwest-1": "aws-cn amazonaws.com.cn cn-northwest-1.compute.internal cnnw1-az2",
		"us-gov-west-1":  "aws-us-gov amazonaws.com us-gov-west-1.compute.internal usgw1-az2",
		"us-iso-east-1":  "aws-iso c2s.ic.gov us-iso-east-1.compute.internal usie1-az2",
		"us-isob-east-1": "aws-iso-b sc2s.sgov.gov us-isob-east-1.compute.internal usie1-az2",
		"eu-isoe-west-1": "aws-iso-e cloud.adc-e.uk eu-isoe-west-1.compute.internal euiw1-az2",
	} {
		got := strings.Join([]string{partition(region), domain(region), privateDomain(region), zoneID(region+"b", region)}, " ")
		if got != want {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
}
