package iam

import (
	"encoding/base64"
	"fmt"
	"io"
	"time"
)

// CreateAccessKey makes a key without end for a user, or for the root user of an
// account by [RootARN]. Errors are ErrNotFound (a role has sessions instead),
// ErrLimit, and those of the entropy source.
func (d *Directory) CreateAccessKey(arn string) (Credentials, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entities[arn]
	if e == nil || e.kind == TypeAssumedRole {
		return Credentials{}, fmt.Errorf("%w: user %q", ErrNotFound, arn)
	}
	n := 0
	for _, k := range d.keys {
		if k.owner == e {
			n++
		}
	}
	if n >= MaxAccessKeys {
		return Credentials{}, fmt.Errorf("%w: %s has %d access keys", ErrLimit, arn, n)
	}
	return d.issue("AKIA", &key{owner: e, created: d.clock()})
}

// DeleteAccessKey ends an access key or a session at once. It is ErrNotFound for
// an id that is not there.
func (d *Directory) DeleteAccessKey(accessKeyID string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys[accessKeyID] == nil {
		return fmt.Errorf("%w: access key", ErrNotFound)
	}
	d.drop(accessKeyID)
	return nil
}

// AssumeRole makes a session of a role that ends after duration, MinSession to
// MaxSession. The name is 2 to 64 letters, digits and _+=,.@-; it is in the ARN of
// the session. Errors are ErrNotFound, ErrInvalid, ErrLimit, and those of the
// entropy source.
func (d *Directory) AssumeRole(roleARN, sessionName string, duration time.Duration) (Credentials, error) {
	switch {
	case !sessionForm.MatchString(sessionName):
		return Credentials{}, fmt.Errorf("%w: session name is %.100q; allowed are 2 to 64 letters, digits and _+=,.@-", ErrInvalid, sessionName)
	case duration < MinSession || duration > MaxSession:
		return Credentials{}, fmt.Errorf("%w: duration of the session is %v; allowed is %v to %v", ErrInvalid, duration, MinSession, MaxSession)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entities[roleARN]
	if e == nil || e.kind != TypeAssumedRole {
		return Credentials{}, fmt.Errorf("%w: role %q", ErrNotFound, roleARN)
	}
	now := d.clock()
	if d.forget(now); d.sessions >= MaxSessions {
		return Credentials{}, fmt.Errorf("%w: %d sessions are alive", ErrLimit, d.sessions)
	}
	token, err := d.token()
	if err != nil {
		return Credentials{}, err
	}
	k := &key{owner: e, session: sessionName, token: token, created: now, expires: now.Add(duration)}
	return d.issue("ASIA", k)
}

// issue gives k an id and a secret.
func (d *Directory) issue(prefix string, k *key) (Credentials, error) {
	id, err := d.identifier(prefix)
	if err != nil {
		return Credentials{}, err
	}
	secret, err := d.read(secretBytes)
	if err != nil {
		return Credentials{}, err
	}
	k.secret = base64.StdEncoding.EncodeToString(secret)
	d.keys[id] = k
	if !k.expires.IsZero() {
		d.sessions++
	}
	return Credentials{AccessKeyID: id, SecretAccessKey: k.secret, SessionToken: k.token, Expires: k.expires}, nil
}

// drop removes an access key.
func (d *Directory) drop(id string) {
	if !d.keys[id].expires.IsZero() {
		d.sessions--
	}
	delete(d.keys, id)
}

const (
	remembered = time.Hour // how long an expired session is still known
	leastSweep = 64        // sessions that are not worth a look at them
)

// forget drops sessions that ended long ago; when there is no room, all that have
// ended. It looks at all of them only when they have doubled since it last did.
func (d *Directory) forget(now time.Time) {
	if d.sessions < d.sweep && d.sessions < MaxSessions {
		return
	}
	d.dropEnded(now.Add(-remembered))
	if d.sessions >= MaxSessions {
		d.dropEnded(now)
	}
	d.sweep = max(leastSweep, 2*d.sessions)
}

// dropEnded drops the sessions that had expired at a time.
func (d *Directory) dropEnded(at time.Time) {
	for id, k := range d.keys {
		if !k.expires.IsZero() && !at.Before(k.expires) {
			d.drop(id)
		}
	}
}

// secretBytes are 40 characters of base64, tokenBytes about 350 as AWS's.
const (
	secretBytes = 30
	tokenBytes  = 240
)

// tokenLabel begins each token, so that one that turns up somewhere tells where it
// is from.
const tokenLabel = "nitrolab emulated session "

func (d *Directory) token() (string, error) {
	b, err := d.read(tokenBytes)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(append([]byte(tokenLabel), b...)), nil
}

// identifier is prefix and 16 characters, one that no access key has.
func (d *Directory) identifier(prefix string) (string, error) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	for range 8 {
		b, err := d.read(16)
		if err != nil {
			return "", err
		}
		for i := range b {
			b[i] = alphabet[b[i]%byte(len(alphabet))]
		}
		if id := prefix + string(b); d.keys[id] == nil {
			return id, nil
		}
	}
	return "", fmt.Errorf("iam: entropy source repeats itself")
}

func (d *Directory) read(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(d.entropy, b); err != nil {
		return nil, fmt.Errorf("iam: entropy: %w", err)
	}
	return b, nil
}
