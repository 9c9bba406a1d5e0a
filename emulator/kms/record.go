package kms

import (
	"crypto/tls"
	"net/http"
	"reflect"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam"
)

const (
	eventVersion = "1.11" // of CloudTrail's records

	maxUserAgent = 256

	// maxFields bounds the strings of requestParameters, in bytes. The largest
	// useful ones, those of PutKeyPolicy, fit.
	maxFields = 40 << 10
)

// newEvent begins the record of a request.
func (s *Service) newEvent(r *http.Request, name string, op operation, id, eventID string) Event {
	e := Event{
		Version: eventVersion, Identity: Identity{Type: "Unknown"}, Time: s.cfg.Clock().UTC(),
		Source: "kms.amazonaws.com", Name: name, Region: s.cfg.Region, UserAgent: clip(r.UserAgent(), maxUserAgent),
		RequestID: id, EventID: eventID, ReadOnly: op.readOnly,
		Type: "AwsApiCall", Management: true, Recipient: s.cfg.Account, Category: "Management",
		WeakenedBy: s.cfg.Weaken.String(),
	}
	if r.TLS != nil {
		e.TLS = &TLS{Version: strings.Replace(tls.VersionName(r.TLS.Version), "TLS ", "TLSv", 1), CipherSuite: tls.CipherSuiteName(r.TLS.CipherSuite), Host: clip(r.Host, maxUserAgent)}
	}
	return e
}

func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}

// eventIdentity is userIdentity of a caller.
func eventIdentity(i iam.Identity) Identity {
	e := Identity{
		Type: i.Type, PrincipalID: i.ID, ARN: i.Principal.ARN, Account: i.Principal.Account,
		AccessKeyID: i.AccessKeyID, UserName: i.Name,
	}
	if i.Type == iam.TypeAssumedRole {
		e.UserName = ""
		role, _, _ := strings.Cut(i.ID, ":")
		e.Session = &SessionContext{
			Issuer:     SessionIssuer{Type: "Role", PrincipalID: role, ARN: i.Principal.Role, Account: i.Principal.Account, UserName: i.Name},
			Attributes: SessionAttributes{Created: i.Created.UTC().Format(eventTime), MFA: "false"},
		}
	}
	return e
}

// recorded are the members of inputs that go into the audit log. A member that is
// not named here does not, so that a new one of the SDK cannot bring a secret;
// byte strings never do.
var recorded = map[string]bool{
	"AliasName": true, "TargetKeyId": true, "KeyId": true, "SourceKeyId": true, "DestinationKeyId": true,
	"EncryptionContext": true, "SourceEncryptionContext": true, "DestinationEncryptionContext": true,
	"EncryptionAlgorithm": true, "SourceEncryptionAlgorithm": true, "DestinationEncryptionAlgorithm": true,
	"SigningAlgorithm": true, "MacAlgorithm": true, "MessageType": true, "KeyAgreementAlgorithm": true,
	"KeySpec": true, "KeyPairSpec": true, "CustomerMasterKeySpec": true, "KeyUsage": true, "Origin": true,
	"NumberOfBytes": true, "Description": true, "Policy": true, "PolicyName": true, "BypassPolicyLockoutSafetyCheck": true,
	"Tags": true, "TagKeys": true, "Limit": true, "Marker": true, "MultiRegion": true, "CustomKeyStoreId": true,
	"PendingWindowInDays": true, "RotationPeriodInDays": true, "IncludeKeyMaterial": true, "DryRun": true, "DryRunModifiers": true,
}

// requestFields are the recorded members of an input that are there.
func requestFields(in any) Fields {
	v := reflect.ValueOf(in).Elem()
	fields, size := Fields{}, 0
	for i := range v.NumField() {
		name, member := v.Type().Field(i).Name, v.Field(i)
		if !recorded[name] || member.Type() == bytesType || member.IsZero() {
			continue
		}
		if member.Kind() == reflect.Pointer {
			member = member.Elem()
		}
		fields[strings.ToLower(name[:1])+name[1:]] = member.Interface()
		size += textSize(member)
	}
	if size > maxFields {
		return Fields{"nitrolabOmitted": "parameters of more than 40 KiB"}
	}
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// textSize is how many bytes the strings in v have.
func textSize(v reflect.Value) int {
	n := 0
	switch v.Kind() {
	case reflect.String:
		n = v.Len()
	case reflect.Pointer:
		if !v.IsNil() {
			n = textSize(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			n += 16 + textSize(v.Index(i))
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			n += 16 + textSize(key) + textSize(value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += textSize(v.Field(i))
		}
	}
	return n
}
