package kms

import (
	"encoding/json"
	"strconv"
	"time"
)

// An Event is what the audit log holds of one request, in the form of a record of
// AWS CloudTrail (CloudTrail user guide, "record contents"; KMS developer guide,
// "ct-nitro-enclave"). There is one for each request that named an operation,
// refused ones included; CloudTrail leaves out those without a valid signature.
//
// No event holds a plaintext, a ciphertext, key material or a signature. There is
// no sourceIPAddress: requests come over vsock.
type Event struct {
	Version       string    `json:"eventVersion"`
	Identity      Identity  `json:"userIdentity"`
	Time          time.Time `json:"-"` // of the Host; eventTime in JSON, whole seconds
	Source        string    `json:"eventSource"`
	Name          string    `json:"eventName"` // the operation, such as Decrypt
	Region        string    `json:"awsRegion"`
	UserAgent     string    `json:"userAgent,omitempty"` // at most 256 bytes
	ErrorCode     string    `json:"errorCode,omitempty"` // that of the answer, but AccessDenied as CloudTrail has it
	ErrorMessage  string    `json:"errorMessage,omitempty"`
	Request       Fields    `json:"requestParameters"`
	Response      Fields    `json:"responseElements"`
	Additional    *Addition `json:"additionalEventData,omitempty"`
	RequestID     string    `json:"requestID"` // that of the header x-amzn-RequestId
	EventID       string    `json:"eventID"`
	ReadOnly      bool      `json:"readOnly"`
	Resources     []Named   `json:"resources,omitempty"`
	Type          string    `json:"eventType"`
	Management    bool      `json:"managementEvent"`
	Recipient     string    `json:"recipientAccountId"`
	Category      string    `json:"eventCategory"`
	TLS           *TLS      `json:"tlsDetails,omitempty"`
	WeakenedBy    string    `json:"nitrolabWeakened,omitempty"` // a sentence, if a protection was off
	InjectedFault string    `json:"nitrolabFault,omitempty"`    // the kind, if a fault took effect
}

// Fields are parameters by name, in lower camel case as in CloudTrail; null in
// JSON if there are none.
type Fields map[string]any

// Identity says who made a request. All is empty, and Type is Unknown, if the
// request was not authenticated.
type Identity struct {
	Type        string          `json:"type"` // Root, IAMUser, AssumedRole, Unknown
	PrincipalID string          `json:"principalId,omitempty"`
	ARN         string          `json:"arn,omitempty"`
	Account     string          `json:"accountId,omitempty"`
	AccessKeyID string          `json:"accessKeyId,omitempty"`
	UserName    string          `json:"userName,omitempty"`
	Session     *SessionContext `json:"sessionContext,omitempty"`
}

// SessionContext says whose session an assumed role is.
type SessionContext struct {
	Issuer     SessionIssuer     `json:"sessionIssuer"`
	Attributes SessionAttributes `json:"attributes"`
}

// SessionAttributes say how a session began.
type SessionAttributes struct {
	Created string `json:"creationDate"`     // RFC 3339
	MFA     string `json:"mfaAuthenticated"` // false
}

// SessionIssuer is the role of a session.
type SessionIssuer struct {
	Type        string `json:"type"` // Role
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	Account     string `json:"accountId"`
	UserName    string `json:"userName"` // the role's name
}

// Named is a key that was used.
type Named struct {
	Account string `json:"accountId"`
	Type    string `json:"type"` // AWS::KMS::Key
	ARN     string `json:"ARN"`
}

// TLS says how the request came.
type TLS struct {
	Version     string `json:"tlsVersion"`
	CipherSuite string `json:"cipherSuite"`
	Host        string `json:"clientProvidedHostHeader"`
}

// Addition is additionalEventData.
type Addition struct {
	Recipient   *Attested `json:"recipient,omitempty"`
	KeyMaterial string    `json:"keyMaterialId,omitempty"`
}

// Attested is what the audit log says of the document of a Recipient. It is there
// only if the document was verified, whatever became of the request then.
type Attested struct {
	// ModuleID of the enclave.
	ModuleID string

	// NitroTPM says that the document is an instance's, and PCRs are those of its
	// TPM.
	NitroTPM bool

	// PCRs by index, lower-case hex.
	PCRs map[uint]string
}

// MarshalJSON gives the members of the developer guide: PCR0 is the image digest.
func (a Attested) MarshalJSON() ([]byte, error) {
	members := map[string]string{"attestationDocumentModuleId": a.ModuleID}
	for i, value := range a.PCRs {
		if a.NitroTPM {
			members["attestationDocumentNitroTPMPCR"+strconv.FormatUint(uint64(i), 10)] = value
			continue
		}
		members[pcrMember(i)] = value
	}
	return json.Marshal(members)
}

// eventTime is the form of times in events.
const eventTime = time.RFC3339

// MarshalJSON adds eventTime.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event // without this method
	return json.Marshal(struct {
		Time string `json:"eventTime"`
		plain
	}{e.Time.UTC().Format(eventTime), plain(e)})
}
