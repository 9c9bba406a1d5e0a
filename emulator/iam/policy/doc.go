// Package policy reads and evaluates policies in the language of AWS IAM, as far
// as a key service needs it: key policies and the identity policies that a key
// policy delegates to.
//
// [Parse] is strict. What it does not know it refuses, with the place in the
// document: a misspelt operator that is skipped would be a policy that says
// something else than its author wrote. [Policy.Evaluate] is one policy's word on
// one request, [Authorize] the decision of a service over all of them.
//
// The language is that of the IAM user guide, "IAM JSON policy element
// reference" and "Policy evaluation logic"; what is special about key policies
// is in the AWS KMS developer guide, "Key policies in AWS KMS".
package policy
