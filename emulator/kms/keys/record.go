package keys

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A keyRecord is a key in the file, in CBOR. What follows from the id, the region and
// the account is not repeated.
type keyRecord struct {
	Spec           Spec              `cbor:"1,keyasint"`
	Usage          Usage             `cbor:"2,keyasint"`
	State          State             `cbor:"3,keyasint"`
	Description    string            `cbor:"4,keyasint,omitempty"`
	Policy         string            `cbor:"5,keyasint,omitempty"`
	Tags           map[string]string `cbor:"6,keyasint,omitempty"`
	Created        int64             `cbor:"7,keyasint"`           // Unix milliseconds, as all times
	DeletionDate   int64             `cbor:"8,keyasint,omitempty"` // of PendingDeletion
	RotationPeriod int               `cbor:"9,keyasint,omitempty"` // days; 0 is off
	RotationNext   int64             `cbor:"10,keyasint,omitempty"`
	Materials      []materialRecord  `cbor:"11,keyasint"` // oldest first
}

// A materialRecord holds a secret in the clear: bytes for Symmetric and HMAC keys,
// PKCS #8 for RSA and ECC keys.
type materialRecord struct {
	ID     []byte       `cbor:"1,keyasint"`
	Secret []byte       `cbor:"2,keyasint"`
	Since  int64        `cbor:"3,keyasint,omitempty"` // of Symmetric
	Type   RotationType `cbor:"4,keyasint,omitempty"`
}

// An aliasRecord is an alias in the file.
type aliasRecord struct {
	KeyID   string `cbor:"1,keyasint"`
	Created int64  `cbor:"2,keyasint"`
	Updated int64  `cbor:"3,keyasint"`
}

// strict bounds what a record may make the decoder do.
var strict = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   4,
		MaxArrayElements:  maxMaterials,
		MaxMapPairs:       MaxTags,
	}.DecMode()
	if err != nil {
		panic("keys: " + err.Error()) // constant options
	}
	return mode
}()

func encodeEntry(e *entry) ([]byte, error) {
	k := e.key
	record := keyRecord{
		Spec: k.Spec, Usage: k.Usage, State: k.State,
		Description: k.Description, Policy: k.Policy, Tags: k.Tags,
		Created: k.Created.UnixMilli(),
	}
	if k.State == PendingDeletion {
		record.DeletionDate = k.DeletionDate.UnixMilli()
	}
	if k.Rotation.Enabled {
		record.RotationPeriod, record.RotationNext = k.Rotation.PeriodDays, k.Rotation.Next.UnixMilli()
	}
	for i, m := range e.materials {
		secret, err := m.bytes()
		if err != nil {
			return nil, err
		}
		mr := materialRecord{ID: m.id[:], Secret: secret}
		if k.Spec == Symmetric {
			mr.Since, mr.Type = k.Materials[i].Since.UnixMilli(), k.Materials[i].Type
		}
		record.Materials = append(record.Materials, mr)
	}
	return cbor.Marshal(record)
}

// decodeEntry is the inverse of encodeEntry but for ARN and account. Everything is
// held against the limits that hold for keys that are made.
func decodeEntry(id string, value []byte) (*entry, error) {
	if _, err := parseUUID(id); err != nil {
		return nil, err
	}
	var record keyRecord
	if err := strict.Unmarshal(value, &record); err != nil {
		return nil, err
	}
	k := &Key{
		ID: id, Spec: record.Spec, Usage: record.Usage, State: record.State,
		Description: record.Description, Policy: record.Policy, Tags: record.Tags,
		Created: fromMilli(record.Created),
	}
	if err := record.check(); err != nil {
		return nil, err
	}
	if k.State == PendingDeletion {
		k.DeletionDate = fromMilli(record.DeletionDate)
	}
	if record.RotationPeriod != 0 {
		k.Rotation = Rotation{Enabled: true, PeriodDays: record.RotationPeriod, Next: fromMilli(record.RotationNext)}
	}
	e := &entry{key: k}
	for _, mr := range record.Materials {
		m, err := mr.material(k.Spec)
		if err != nil {
			return nil, err
		}
		e.materials = append(e.materials, m)
		if k.Spec == Symmetric {
			k.MaterialID = m.name()
			k.Materials = append(k.Materials, Material{ID: m.name(), Since: fromMilli(mr.Since), Type: mr.Type})
		}
	}
	return e, nil
}

func (record *keyRecord) check() error {
	if spec, usage, err := checkSpec(record.Spec, record.Usage); err != nil {
		return err
	} else if spec != record.Spec || usage != record.Usage {
		return errors.New("KeySpec or KeyUsage is missing")
	}
	if err := errors.Join(checkDescription(record.Description), checkPolicy(record.Policy), checkTags(record.Tags)); err != nil {
		return err
	}
	n := len(record.Materials)
	switch {
	case !slices.Contains([]State{Enabled, Disabled, PendingDeletion}, record.State):
		return fmt.Errorf("KeyState is %q", clip(string(record.State)))
	case n == 0 || n > 1 && record.Spec != Symmetric:
		return fmt.Errorf("there are %d materials of KeySpec %s", n, record.Spec)
	case record.RotationPeriod == 0:
		return nil
	case record.Spec != Symmetric:
		return fmt.Errorf("a key of KeySpec %s has a rotation schedule", record.Spec)
	case record.RotationPeriod < MinRotationDays || record.RotationPeriod > MaxRotationDays:
		return fmt.Errorf("rotation period is %d days", record.RotationPeriod)
	}
	return nil
}

// bytes is the secret as it is stored.
func (m *material) bytes() ([]byte, error) {
	switch p := m.private(); {
	case p.rsa != nil:
		return x509.MarshalPKCS8PrivateKey(p.rsa)
	case p.ec != nil:
		return x509.MarshalPKCS8PrivateKey(p.ec)
	default:
		return p.secret, nil
	}
}

// material is the inverse of bytes. Errors do not quote the secret, nor what a
// parser says of it.
func (mr *materialRecord) material(spec Spec) (*material, error) {
	if len(mr.ID) != materialIDSize {
		return nil, fmt.Errorf("id of a material has %d bytes", len(mr.ID))
	}
	if t := mr.Type; t != "" && t != Automatic && t != OnDemand {
		return nil, fmt.Errorf("type of a rotation is %q", clip(string(t)))
	}
	m := &material{id: [materialIDSize]byte(mr.ID)}
	if n := spec.secretSize(); n > 0 {
		if len(mr.Secret) != n {
			return nil, fmt.Errorf("material of KeySpec %s has %d bytes", spec, len(mr.Secret))
		}
		m.private = hide(private{secret: mr.Secret})
		return m, nil
	}
	pair, err := x509.ParsePKCS8PrivateKey(mr.Secret)
	if err != nil {
		return nil, fmt.Errorf("material of KeySpec %s is not PKCS #8", spec)
	}
	fits := false
	switch k := pair.(type) {
	case *rsa.PrivateKey:
		fits = k.N.BitLen() == spec.rsaBits()
	case *ecdsa.PrivateKey:
		fits = k.Curve == spec.curve()
	}
	if !fits {
		return nil, fmt.Errorf("material is not of KeySpec %s", spec)
	}
	return m, m.hold(pair)
}

func encodeAlias(a *Alias) ([]byte, error) {
	return cbor.Marshal(aliasRecord{KeyID: a.KeyID, Created: a.Created.UnixMilli(), Updated: a.Updated.UnixMilli()})
}

// decodeAlias is the inverse of encodeAlias but for the ARN.
func decodeAlias(name string, value []byte) (*Alias, error) {
	if err := checkAlias(name); err != nil {
		return nil, err
	}
	var record aliasRecord
	if err := strict.Unmarshal(value, &record); err != nil {
		return nil, err
	}
	return &Alias{Name: name, KeyID: record.KeyID, Created: fromMilli(record.Created), Updated: fromMilli(record.Updated)}, nil
}

func fromMilli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
