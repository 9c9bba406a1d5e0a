package iam

import (
	"fmt"
	"log/slog"
	"time"
)

// Credentials are what a client signs with. They print, and go into JSON, without
// the secrets; but fmt cannot see that of an unexported field in a struct.
type Credentials struct {
	AccessKeyID     string    // AKIA or ASIA, and 16 characters
	SecretAccessKey string    // 40 characters
	SessionToken    string    // of a session of a role, otherwise ""
	Expires         time.Time // of a session of a role, otherwise zero: never
}

// String is the access key id, which is no secret, and when it expires.
func (c Credentials) String() string { return redacted(c.AccessKeyID, c.Expires) }

// Format writes String, whatever the verb.
func (c Credentials) Format(s fmt.State, _ rune) { fmt.Fprint(s, c.String()) }

// LogValue is String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, for JSON too.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func redacted(id string, expires time.Time) string {
	if expires.IsZero() {
		return id
	}
	return id + " until " + expires.UTC().Format(time.RFC3339)
}
