package imds

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
)

// documentVersion is the version of the identity document's form.
const documentVersion = "2017-09-30"

// An identity is the identity document with its signatures (Amazon EC2 User Guide,
// "Instance identity documents for Amazon EC2 instances").
type identity struct {
	document []byte
	// signed makes the signatures when somebody first asks, and then once: they
	// take some milliseconds, which the launch of an instance does not have.
	signed func() (signatures, error)
}

// signatures are those of an identity document, in base64.
type signatures struct {
	raw   []byte // RSA with PKCS #1 v1.5 and SHA-256
	pkcs7 []byte // signed data with the document in it, without armour
}

// newIdentity makes the document of an instance that is launched now.
func newIdentity(c Config) identity {
	now := c.Clock().UTC()
	doc := object(
		member{"accountId", c.AccountID},
		member{"architecture", c.Architecture},
		member{"availabilityZone", c.AvailabilityZone},
		member{"billingProducts", nil},
		member{"devpayProductCodes", nil},
		member{"marketplaceProductCodes", nil},
		member{"imageId", c.ImageID},
		member{"instanceId", c.InstanceID},
		member{"instanceType", c.InstanceType},
		member{"kernelId", nil},
		member{"pendingTime", now.Format(timeFormat)},
		member{"privateIp", c.PrivateIP},
		member{"ramdiskId", nil},
		member{"region", c.Region},
		member{"version", documentVersion},
	)
	return identity{doc, sync.OnceValues(func() (signatures, error) {
		sum := sha256.Sum256(doc)
		raw, err := rsa.SignPKCS1v15(nil, c.SigningKey, crypto.SHA256, sum[:])
		if err != nil {
			return signatures{}, fmt.Errorf("sign identity document: %w", err)
		}
		signed, err := signedData(doc, c.Certificate, c.SigningKey, now)
		if err != nil {
			return signatures{}, fmt.Errorf("sign identity document: %w", err)
		}
		return signatures{wrapped(raw), wrapped(signed)}, nil
	})}
}

// columns is the length of lines of base64, that of MIME (RFC 2045 section 6.8).
const columns = 76

// wrapped is base64 in lines, without a line feed after the last.
func wrapped(b []byte) []byte {
	text := base64.StdEncoding.EncodeToString(b)
	var w strings.Builder
	for len(text) > columns {
		w.WriteString(text[:columns] + "\n")
		text = text[columns:]
	}
	return []byte(w.String() + text)
}
