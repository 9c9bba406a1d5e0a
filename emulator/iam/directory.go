package iam

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// Reasons to refuse, found by errors.Is. The names are those of IAM's and STS's
// errors.
var (
	ErrNotFound = errors.New("no such entity")        // NoSuchEntity
	ErrExists   = errors.New("entity already exists") // EntityAlreadyExists
	ErrInvalid  = errors.New("invalid input")         // ValidationError
	ErrLimit    = errors.New("limit exceeded")        // LimitExceeded
)

// Bounds of a Directory. AWS's are of the same order (IAM user guide, "IAM and AWS
// STS quotas"); MaxSessions is not one of AWS's.
const (
	MaxEntities   = 5000   // users, roles and root users, of all accounts
	MaxAccessKeys = 2      // of one user
	MaxSessions   = 20_000 // alive at a time
)

// Durations of a session (STS API, AssumeRole: DurationSeconds).
const (
	MinSession = 15 * time.Minute
	MaxSession = 12 * time.Hour
)

// A Directory holds identities. It is safe for concurrent use.
type Directory struct {
	account string
	clock   func() time.Time

	// mu protects what follows. Entropy is read with it held, so that a
	// deterministic source gives the same credentials in the same order.
	mu       sync.RWMutex
	entropy  io.Reader
	accounts map[string]bool
	entities map[string]*entity // by ARN, of users, roles and root users
	names    map[name]*entity   // users and roles
	keys     map[string]*key    // by access key id
	sessions int                // keys that expire
	sweep    int                // number of sessions at which to drop ended ones
}

// An entity is a user, a role, or the root user of an account.
type entity struct {
	kind     string // TypeRoot, TypeUser, TypeAssumedRole (a role)
	account  string
	arn      string
	id       string
	name     string
	policies []*policy.Policy
}

// A name is what an account has once. The path is not in it, nor in the ARN of a
// session, which has to tell roles apart; and case makes no other name (IAM user
// guide, "IAM and AWS STS quotas": IAM name requirements).
type name struct {
	kind, account string
	lower         string
}

// A key is an access key.
type key struct {
	owner         *entity
	session       string
	secret, token string
	created       time.Time
	expires       time.Time
}

// NewDirectory makes a directory with one account. A nil clock is time.Now, nil
// entropy crypto/rand. account is 12 digits, or it panics.
func NewDirectory(account string, clock func() time.Time, entropy io.Reader) *Directory {
	if clock == nil {
		clock = time.Now
	}
	if entropy == nil {
		entropy = rand.Reader
	}
	d := &Directory{
		account: account, clock: clock, entropy: entropy,
		accounts: map[string]bool{}, entities: map[string]*entity{}, names: map[name]*entity{},
		keys: map[string]*key{}, sweep: leastSweep,
	}
	if err := d.AddAccount(account); err != nil {
		panic(fmt.Sprintf("iam: %v", err))
	}
	return d
}

// Account is the account the directory was made with.
func (d *Directory) Account() string { return d.account }

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	// nameForm is a name behind an optional path, "/" between the parts.
	nameForm    = regexp.MustCompile(`^([\w+=,.@-]{1,128}/){0,4}[\w+=,.@-]{1,64}$`)
	sessionForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// AddAccount adds an account, with its root user. Errors are ErrInvalid, if account
// is not 12 digits, and ErrLimit; an account that is there already stays as it is.
func (d *Directory) AddAccount(account string) error {
	if !accountForm.MatchString(account) {
		return fmt.Errorf("%w: account is %q; allowed are 12 digits", ErrInvalid, account)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.accounts[account] {
		return nil
	}
	if err := d.checkRoom(); err != nil {
		return err
	}
	arn := RootARN(account)
	d.accounts[account] = true
	d.entities[arn] = &entity{kind: TypeRoot, account: account, arn: arn, id: account}
	return nil
}

func (d *Directory) checkRoom() error {
	if n := len(d.entities); n >= MaxEntities {
		return fmt.Errorf("%w: there are %d users and roles", ErrLimit, n)
	}
	return nil
}

// RootARN is the ARN of an account's root user.
func RootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// CreateUser adds a user with identity policies, and returns its ARN. The name may
// have a path before it, as in "division/user", that does not make it another name;
// nor does case. Errors are ErrInvalid, ErrExists, ErrNotFound (the account),
// ErrLimit, and those of the entropy source.
func (d *Directory) CreateUser(account, name string, policies ...*policy.Policy) (arn string, err error) {
	return d.create(TypeUser, account, name, policies)
}

// CreateRole adds a role, as CreateUser adds a user. Whoever has the Directory may
// assume it; there are no trust policies.
func (d *Directory) CreateRole(account, name string, policies ...*policy.Policy) (arn string, err error) {
	return d.create(TypeAssumedRole, account, name, policies)
}

func (d *Directory) create(kind, account, pathName string, policies []*policy.Policy) (string, error) {
	resource, prefix := "user", "AIDA"
	if kind == TypeAssumedRole {
		resource, prefix = "role", "AROA"
	}
	if !nameForm.MatchString(pathName) {
		return "", fmt.Errorf("%w: name of the %s is %.600q; allowed are 1 to 64 letters, digits and _+=,.@-, behind up to 4 parts of a path", ErrInvalid, resource, pathName)
	}
	if err := checkPolicies(policies); err != nil {
		return "", err
	}
	e := &entity{
		kind: kind, account: account, arn: "arn:aws:iam::" + account + ":" + resource + "/" + pathName,
		name: pathName[strings.LastIndexByte(pathName, '/')+1:], policies: slices.Clone(policies),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.accounts[account] {
		return "", fmt.Errorf("%w: account %q", ErrNotFound, account)
	}
	if there := d.names[e.unique()]; there != nil {
		return "", fmt.Errorf("%w: %s", ErrExists, there.arn)
	}
	if err := d.checkRoom(); err != nil {
		return "", err
	}
	id, err := d.identifier(prefix)
	if err != nil {
		return "", err
	}
	e.id = id
	d.entities[e.arn], d.names[e.unique()] = e, e
	return e.arn, nil
}

func (e *entity) unique() name {
	return name{kind: e.kind, account: e.account, lower: strings.ToLower(e.name)}
}

func checkPolicies(policies []*policy.Policy) error {
	for i, p := range policies {
		if p == nil {
			return fmt.Errorf("%w: identity policy %d is nil", ErrInvalid, i)
		}
		if err := p.CheckIdentity(); err != nil {
			return fmt.Errorf("%w: identity policy %d: %w", ErrInvalid, i, err)
		}
	}
	return nil
}

// SetPolicies replaces the identity policies of a user or role, also for its
// sessions that are alive. Errors are ErrInvalid and ErrNotFound.
func (d *Directory) SetPolicies(arn string, policies ...*policy.Policy) error {
	if err := checkPolicies(policies); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entities[arn]
	if e == nil || e.kind == TypeRoot {
		return fmt.Errorf("%w: user or role %q", ErrNotFound, arn)
	}
	e.policies = slices.Clone(policies) // a new list: Lookup has given the old one away
	return nil
}

// Delete removes a user or role with its access keys and sessions. It is
// ErrNotFound for any other ARN.
func (d *Directory) Delete(arn string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entities[arn]
	if e == nil || e.kind == TypeRoot {
		return fmt.Errorf("%w: user or role %q", ErrNotFound, arn)
	}
	delete(d.entities, arn)
	delete(d.names, e.unique())
	for id, k := range d.keys {
		if k.owner == e {
			d.drop(id)
		}
	}
	return nil
}
