package kms

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/iam/policy"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// attestationKeys begin the condition keys that come from the document of a
// Recipient.
const attestationKeys = "kms:RecipientAttestation:"

// An access is one question to the policies.
type access struct {
	action string    // without kms:
	key    *keys.Key // nil for an operation on no key

	// resource is that of an access without a key: the ARN of an alias, or * if
	// empty.
	resource string

	asked     string // the KeyId parameter as it came; empty if there was none
	more      conditions
	recipient *recipient // nil without
}

// authorize asks the policies. Its refusal is an AccessDeniedException.
func (c *call) authorize(a access) error {
	if a.key != nil {
		c.uses(a.key)
	}
	resource, r, err := c.question(a)
	if err != nil {
		return err
	}
	if _, ok := c.s.faults.take(c.op, FaultDeny); ok {
		c.event.InjectedFault = FaultDeny.String()
		return c.denied(r, "because no resource-based policy allows the "+r.Action+" action")
	}
	identity := c.identity.Policies
	if c.s.cfg.Weaken.Off(weaken.RecipientConditions) {
		resource, identity = withoutConditions(resource, identity)
	}
	decision := policy.Authorize(resource, identity, r)
	if !decision.Allowed {
		return c.denied(r, decision.Reason)
	}
	if a.recipient.inDebug() && !c.meantForDebug(resource, identity, r) {
		return c.denied(r, "because no policy allows the "+r.Action+" action to an enclave in debug mode by naming its zero PCRs")
	}
	return nil
}

// question is an access as the policies see it. resource is nil if it is about no
// key.
func (c *call) question(a access) (resource *policy.Policy, r policy.Request, err error) {
	r = policy.Request{
		Action:    "kms:" + a.action,
		Resource:  a.resource,
		Principal: c.identity.Principal,
		Context:   c.conditions(a),
	}
	switch {
	case a.key != nil:
		r.Resource = a.key.ARN
		if resource, err = policy.Parse([]byte(a.key.Policy)); err != nil {
			return nil, r, fmt.Errorf("policy of %s: %w", a.key.ARN, err)
		}
	case r.Resource == "":
		r.Resource = "*"
	}
	return resource, r, nil
}

func (c *call) denied(r policy.Request, reason string) *exception {
	on := " on resource: " + r.Resource
	if r.Resource == "*" {
		on = ""
	}
	return refuse(codeAccessDenied, "User: %s is not authorized to perform: %s%s %s", c.identity.Principal.ARN, r.Action, on, reason)
}

// meantForDebug reports whether the policies allow r because the PCRs of a debug
// enclave are zero: if they would allow the same to an image that nobody has, the
// zeros were not what decided. It is asked only after they have allowed r.
func (c *call) meantForDebug(resource *policy.Policy, identity []*policy.Policy, r policy.Request) bool {
	if c.s.cfg.Debug != DebugByPolicy || c.s.cfg.Weaken.Off(weaken.RecipientConditions) {
		return true
	}
	other := make(map[string][]string, len(r.Context))
	for key, values := range r.Context {
		other[key] = values
	}
	for key, value := range noImage {
		other[key] = value
	}
	r.Context = other
	return !policy.Authorize(resource, identity, r).Allowed
}

// noImage has the measurements of an image that does not exist.
var noImage = func() map[string][]string {
	m := make(map[string][]string)
	for i := range uint(3) {
		sum := sha512.Sum384(fmt.Appendf(nil, "nitrolab: PCR%d of no image", i))
		m[pcrKey(i)] = []string{hex.EncodeToString(sum[:])}
	}
	m[imageKey] = m[pcrKey(0)]
	return m
}()

// withoutConditions is weaken.RecipientConditions: what depends on a document is
// allowed without, and denied to nobody.
func withoutConditions(resource *policy.Policy, identity []*policy.Policy) (*policy.Policy, []*policy.Policy) {
	known := func(key string) bool {
		return len(key) < len(attestationKeys) || !strings.EqualFold(key[:len(attestationKeys)], attestationKeys)
	}
	if resource != nil {
		resource = resource.Assuming(known)
	}
	weakened := make([]*policy.Policy, len(identity))
	for i, p := range identity {
		weakened[i] = p.Assuming(known)
	}
	return resource, weakened
}
