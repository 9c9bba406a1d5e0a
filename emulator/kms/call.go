package kms

import (
	"net/http"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// A call is one request on its way.
type call struct {
	s         *Service
	http      *http.Request
	body      []byte
	op        string
	operation operation
	now       time.Time // one time for all of the request's checks
	id        string
	event     Event

	identity iam.Identity // known when operation.run is called
}

// answer gives the body of a success.
func (c *call) answer() ([]byte, error) {
	if f, ok := c.s.faults.take(c.op, FaultThrottle, FaultInternal); ok {
		c.event.InjectedFault = f.Kind.String()
		if f.Kind == FaultThrottle {
			return nil, refuse(codeThrottling, "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
		}
		return nil, internal()
	}
	identity, err := c.s.verifier.Verify(c.http, c.body)
	if err != nil {
		return nil, err
	}
	c.identity = identity
	c.event.Identity = eventIdentity(identity)
	return c.operation.run(c)
}

// key finds the key of a KeyId parameter that has passed validation. A foreigner
// learns nothing about which keys there are, as at AWS.
func (c *call) key(id string) (*keys.Key, error) {
	if c.foreign() && !strings.HasPrefix(id, "arn:") {
		// Short names are of the caller's own account, and its keys are not here.
		return nil, refuse(codeNotFound, "Invalid keyId '%.128s'", id)
	}
	k, err := c.s.cfg.Ring.Get(id)
	if err != nil && c.foreign() && isMissing(err) {
		return nil, c.notForYou()
	}
	return k, err
}

// foreign reports whether the caller is of another account than the keys.
func (c *call) foreign() bool { return c.identity.Principal.Account != c.s.cfg.Account }

// notForYou does not tell a key that is missing from one that is closed.
func (c *call) notForYou() *exception {
	return refuse(codeAccessDenied, "User: %s is not authorized to perform: kms:%s on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
		c.identity.Principal.ARN, c.op)
}

// uses puts a key into the audit log. Of an operation that changes something the
// log says what it changed, as CloudTrail's does.
func (c *call) uses(k *keys.Key) {
	for _, r := range c.event.Resources {
		if r.ARN == k.ARN {
			return
		}
	}
	c.event.Resources = append(c.event.Resources, Named{Account: k.Account, Type: "AWS::KMS::Key", ARN: k.ARN})
	if !c.event.ReadOnly {
		c.event.Response = Fields{"keyId": k.ARN}
	}
}

// open is what most operations begin with: the key of id, if the policies allow
// action with it.
func (c *call) open(id *string, action string, more conditions) (*keys.Key, error) {
	k, err := c.key(*id)
	if err != nil {
		return nil, err
	}
	return k, c.authorize(access{action: action, key: k, asked: *id, more: more})
}

// dry is the end of a request that is only a question: everything was done but to
// answer with it.
func (c *call) dry(flag *bool) error {
	if flag != nil && *flag {
		return refuse(codeDryRun, "The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}
