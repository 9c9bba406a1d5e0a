package iam

import (
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// Exists reports whether a policy may name principal: an account that is here, as
// its 12 digits or its root, a user or a role, or any session of a role that is
// here, alive or not. "*" exists. Unique ids and federated users do not.
func (d *Directory) Exists(principal string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if principal == "*" || d.accounts[principal] || d.entities[principal] != nil {
		return true
	}
	account := policy.AccountOf(principal)
	rest, ok := strings.CutPrefix(principal, "arn:aws:sts::"+account+":assumed-role/")
	if !ok {
		return false
	}
	role, session, _ := strings.Cut(rest, "/")
	e := d.names[name{kind: TypeAssumedRole, account: account, lower: strings.ToLower(role)}]
	// Only names are blind to case, ARNs are not.
	return e != nil && e.name == role && sessionForm.MatchString(session)
}

// Lookup finds who holds an access key. It also finds a session that has expired,
// as a rule for an hour at least, so that its holder can be told so.
func (d *Directory) Lookup(accessKeyID string) (Identity, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	k := d.keys[accessKeyID]
	if k == nil {
		return Identity{}, false
	}
	e := k.owner
	i := Identity{
		Principal: policy.Principal{Account: e.account, ARN: e.arn},
		Type:      e.kind, ID: e.id, Name: e.name, Session: k.session,
		AccessKeyID: accessKeyID, Secret: k.secret, Token: k.token,
		Created: k.created, Expires: k.expires, Policies: e.policies,
	}
	if e.kind == TypeAssumedRole {
		i.Principal.Role = e.arn
		i.Principal.ARN = "arn:aws:sts::" + e.account + ":assumed-role/" + e.name + "/" + k.session
		i.ID += ":" + k.session
	}
	return i, true
}

// Principals are the ARNs of all users and roles, sorted.
func (d *Directory) Principals() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var list []string
	for arn, e := range d.entities {
		if e.kind != TypeRoot {
			list = append(list, arn)
		}
	}
	slices.Sort(list)
	return list
}
