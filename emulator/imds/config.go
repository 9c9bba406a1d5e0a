package imds

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// MaxUserData bounds [Config.UserData] in bytes, as EC2 does (Amazon EC2 User
// Guide, "Run commands when you launch an EC2 instance with user data input").
const MaxUserData = 16 << 10

// A Config says which instance a [Service] speaks of, and with whose keys. Fields
// that are not said to be optional are required.
type Config struct {
	InstanceID       string // such as i-0123456789abcdef0
	Region           string // such as us-east-1
	AvailabilityZone string // such as us-east-1a
	InstanceType     string // such as m5.xlarge
	ImageID          string // such as ami-0123456789abcdef0
	AccountID        string // 12 digits
	PrivateIP        string // an IPv4 address
	Architecture     string // empty means x86_64

	// Hostname is the instance's name in its VPC; empty means one made of the
	// private address, such as ip-172-31-0-10.ec2.internal.
	Hostname string

	// UserData is what the instance was launched with, at most MaxUserData bytes;
	// none at all means that there is none, which is a 404.
	UserData []byte

	// Role is the ARN of the role of the instance's profile, such as
	// arn:aws:iam::123456789012:role/parent. Empty means that the instance has no
	// profile, and no credentials.
	Role string

	// Credentials are asked for at each request for those of Role, and required
	// with it. They should stay the same until they are near their end. A failure
	// is an answer with the code AssumeRoleUnauthorizedAccess; the error goes to
	// Log alone.
	Credentials func(context.Context) (Credentials, error)

	// SigningKey signs identity documents: RSA of 2048 bits. Certificate is its
	// certificate, which whoever verifies must have from somewhere else: it is no
	// part of a signature.
	SigningKey  *rsa.PrivateKey
	Certificate *x509.Certificate

	// V1 serves those who have no token, as IMDSv1 does (HttpTokens "optional").
	V1 bool

	Clock   func() time.Time // nil means time.Now
	Entropy io.Reader        // for the key of tokens; nil means crypto/rand
	Log     *slog.Logger     // nil means none
}

// Credentials are temporary credentials of a role (AWS Security Token Service,
// "Credentials"). They do not print.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	Token           string
	Expiration      time.Time
	LastUpdated     time.Time // zero means now
}

const redacted = "credentials (redacted)"

// String, Format and LogValue keep credentials out of what people read.
func (Credentials) String() string { return redacted }

// Format implements [fmt.Formatter].
func (Credentials) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer].
func (Credentials) LogValue() slog.Value { return slog.StringValue(redacted) }

// What values look like. They become lines of plain text, and JSON.
var (
	instancePattern = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
	imagePattern    = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)
	regionPattern   = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	zonePattern     = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}[a-z]$`)
	typePattern     = regexp.MustCompile(`^[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}$`)
	accountPattern  = regexp.MustCompile(`^[0-9]{12}$`)
	hostPattern     = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	rolePattern     = regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/([!-~]{1,512}/)?[A-Za-z0-9+=,.@_-]{1,64}$`)
)

// withDefaults fills in what may be left out.
func (c Config) withDefaults() Config {
	if c.Architecture == "" {
		c.Architecture = "x86_64"
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Hostname == "" {
		c.Hostname = "ip-" + strings.ReplaceAll(c.PrivateIP, ".", "-") + "." + privateDomain(c.Region)
	}
	return c
}

// check refuses what no instance has.
func (c Config) check() error {
	// Before the host name, which may be made of it.
	if ip, err := netip.ParseAddr(c.PrivateIP); err != nil || !ip.Is4() {
		return fmt.Errorf("private IP is %.80q; allowed is an IPv4 address", c.PrivateIP)
	}
	for _, f := range []struct {
		name, value string
		pattern     *regexp.Regexp
		allowed     string
	}{
		{"instance id", c.InstanceID, instancePattern, "i- and 8 or 17 hex digits"},
		{"region", c.Region, regionPattern, "of the form us-east-1"},
		{"availability zone", c.AvailabilityZone, zonePattern, "of the form us-east-1a"},
		{"instance type", c.InstanceType, typePattern, "of the form m5.xlarge"},
		{"image id", c.ImageID, imagePattern, "ami- and 8 or 17 hex digits"},
		{"account id", c.AccountID, accountPattern, "12 digits"},
		{"host name", c.Hostname, hostPattern, "lower case letters, digits, dots and dashes"},
	} {
		if !f.pattern.MatchString(f.value) {
			return fmt.Errorf("%s is %.80q; allowed is %s", f.name, f.value, f.allowed)
		}
	}
	switch {
	case c.AvailabilityZone[:len(c.AvailabilityZone)-1] != c.Region:
		return fmt.Errorf("availability zone is %q; allowed is one of region %s", c.AvailabilityZone, c.Region)
	case c.Architecture != "x86_64" && c.Architecture != "arm64":
		return fmt.Errorf("architecture is %.80q; allowed are x86_64 and arm64", c.Architecture)
	case len(c.UserData) > MaxUserData:
		return fmt.Errorf("user data has %d bytes; allowed are at most %d", len(c.UserData), MaxUserData)
	case c.Role != "" && !rolePattern.MatchString(c.Role):
		return fmt.Errorf("role is %.80q; allowed is an ARN of the form arn:aws:iam::123456789012:role/name", c.Role)
	case (c.Role != "") != (c.Credentials != nil):
		return fmt.Errorf("role is %.80q, credentials given: %t; allowed are both or neither", c.Role, c.Credentials != nil)
	case c.SigningKey == nil || c.SigningKey.N.BitLen() != 2048:
		return fmt.Errorf("signing key is missing or of another size; allowed is RSA of 2048 bits")
	case c.Certificate == nil || !c.SigningKey.PublicKey.Equal(c.Certificate.PublicKey):
		return fmt.Errorf("certificate is missing or of another key; allowed is one of the signing key")
	}
	return nil
}
