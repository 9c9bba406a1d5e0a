package kms

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/iam/policy"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// policyName is the only name a key policy has.
const policyName = "default"

// defaultPolicy is that of a key that is created without one: it leaves everything
// to the identity policies of the account (KMS developer guide, "Default key
// policy").
func defaultPolicy(account string) string {
	return fmt.Sprintf(`{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : %q
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`, iam.RootARN(account))
}

// checkPolicy refuses a policy that is malformed, that names somebody who does not
// exist, or, unless bypassed, after which the caller could not change it again.
func (c *call) checkPolicy(text, keyARN string, bypass bool) error {
	p, err := policy.Parse([]byte(text))
	if err == nil {
		err = p.CheckResource()
	}
	if err != nil {
		return refuse(codeMalformedPolicy, "%v", err)
	}
	for i := range p.Statements {
		for _, list := range []*policy.Principals{p.Statements[i].Principal, p.Statements[i].NotPrincipal} {
			if list == nil {
				continue
			}
			for _, who := range list.AWS {
				if !c.s.cfg.Directory.Exists(who) {
					return refuse(codeMalformedPolicy, "Policy contains a statement with one or more invalid principals.")
				}
			}
		}
	}
	if bypass {
		return nil
	}
	a := access{action: "PutKeyPolicy", resource: keyARN, more: conditions{}}
	a.more.setBool("kms:BypassPolicyLockoutSafetyCheck", false)
	_, r, err := c.question(a)
	if err != nil {
		return err
	}
	if !policy.Authorize(p, c.identity.Policies, r).Allowed {
		return refuse(codeMalformedPolicy, "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

func (c *call) putKeyPolicy(in *kms.PutKeyPolicyInput) error {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.text("policy", in.Policy, 1, keys.MaxPolicy)
	v.optional("policyName", in.PolicyName, 1, 128)
	if err := v.err(); err != nil {
		return err
	}
	if err := onlyDefault(in.PolicyName); err != nil {
		return err
	}
	more := conditions{}
	more.setBool("kms:BypassPolicyLockoutSafetyCheck", in.BypassPolicyLockoutSafetyCheck)
	k, err := c.open(in.KeyId, "PutKeyPolicy", more)
	if err != nil {
		return err
	}
	if err := c.checkPolicy(*in.Policy, k.ARN, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return err
	}
	return c.s.cfg.Ring.SetPolicy(k.ID, *in.Policy)
}

func (c *call) getKeyPolicy(in *kms.GetKeyPolicyInput) (*kms.GetKeyPolicyOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.optional("policyName", in.PolicyName, 1, 128)
	if err := v.err(); err != nil {
		return nil, err
	}
	k, err := c.open(in.KeyId, "GetKeyPolicy", nil)
	if err != nil {
		return nil, err
	}
	if err := onlyDefault(in.PolicyName); err != nil {
		return nil, err
	}
	return &kms.GetKeyPolicyOutput{Policy: aws.String(k.Policy), PolicyName: aws.String(policyName)}, nil
}

func onlyDefault(name *string) error {
	if name != nil && *name != policyName {
		return refuse(codeNotFound, "No such policy exists")
	}
	return nil
}

func (c *call) listKeyPolicies(in *kms.ListKeyPoliciesInput) (*kms.ListKeyPoliciesOutput, error) {
	var v validation
	v.keyID("keyId", in.KeyId)
	v.list(in.Limit, 1000, in.Marker)
	if err := v.err(); err != nil {
		return nil, err
	}
	if _, err := c.open(in.KeyId, "ListKeyPolicies", nil); err != nil {
		return nil, err
	}
	if in.Marker != nil {
		return nil, invalidMarker()
	}
	return &kms.ListKeyPoliciesOutput{PolicyNames: []string{policyName}}, nil
}

// keyException gives the answer for an error of package keys, nil if err is none or
// is the service's own failure.
func keyException(err error) *exception {
	var e *keys.Error
	if !errors.As(err, &e) || e.Exception == keys.ErrInternal {
		return nil
	}
	return &exception{code: string(e.Exception), message: e.Message}
}

func isMissing(err error) bool { return errors.Is(err, keys.ErrNotFound) }
