package review

import (
	"maps"
	"slices"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// A Case is a policy with what is known around it.
type Case struct {
	Policy *policy.Policy // key policy, or identity policy

	// KeyARN is the key; "" is [KeyOf] the policy.
	KeyARN string

	// Images may have the key. None are those that the policy names itself; see
	// [ImagesOf].
	Images []Image

	// Requesters ask for it. None are all whom the policy names.
	Requesters []Requester
}

// A Report says who gets a key.
type Report struct {
	KeyARN   string
	Identity bool // the policy is an identity policy
	Images   []Image
	Requests []Request

	// Releases are by request, in their order, and [RecipientActions]: each
	// requester who gets the key. What has none is denied.
	Releases [][][]Release
}

// A Release is a request that is answered with a key.
type Release struct {
	Requester string

	// Statement decides; nil if identity policies decide alone.
	Statement *policy.Statement

	// ByIdentity is set if an identity policy has to allow it too, and none is
	// known.
	ByIdentity bool

	// If are the condition keys that nothing is known about and that have to be as
	// the policy wants, sorted.
	If []string
}

// Table plays the requests of a case against its policy.
func Table(c Case) Report {
	r := Report{KeyARN: c.KeyARN, Identity: isIdentity(c.Policy), Images: c.Images}
	if r.KeyARN == "" {
		r.KeyARN = KeyOf(c.Policy)
	}
	if len(r.Images) == 0 {
		r.Images = ImagesOf(c.Policy)
	}
	asking := c.Requesters
	switch {
	case len(asking) > 0:
	case r.Identity:
		holder, _ := NewRequester(policy.AccountOf(r.KeyARN), nil)
		holder.Name = "whoever has the policy"
		asking = []Requester{holder}
	default:
		asking = named(c.Policy)
	}
	r.Requests = requests(r.Images, others(c.Policy, c.Images), namedRegisters(c.Policy, asking))
	r.Releases = make([][][]Release, len(r.Requests))
	for i, request := range r.Requests {
		r.Releases[i] = make([][]Release, len(RecipientActions))
		for _, a := range asking {
			p := player{policy: c.Policy, identity: r.Identity, keyARN: r.KeyARN, requester: a}
			for j, release := range p.play(request, RecipientActions) {
				if release != nil {
					r.Releases[i][j] = append(r.Releases[i][j], *release)
				}
			}
		}
	}
	return r
}

// Leaks are the requests that are given a key and should not be, by index.
func (r Report) Leaks() []int {
	var list []int
	for i, request := range r.Requests {
		if !request.Attested && !request.Allowed && r.released(i) {
			list = append(list, i)
		}
	}
	return list
}

// LockedOut are the images that get a key by no action, by index of their request.
func (r Report) LockedOut() []int {
	var list []int
	for i, request := range r.Requests {
		if request.Attested && !r.released(i) {
			list = append(list, i)
		}
	}
	return list
}

// released reports whether request i gets a key. Random bytes are none.
func (r Report) released(i int) bool {
	for j, releases := range r.Releases[i] {
		if len(releases) > 0 && RecipientActions[j] != actionRandom {
			return true
		}
	}
	return false
}

// Decides reports whether the policy is asked about an action at all.
func (r Report) Decides(action string) bool { return r.Identity || action != actionRandom }

// A player plays one requester against one policy.
type player struct {
	policy    *policy.Policy
	identity  bool // policy is the requester's own
	keyARN    string
	requester Requester
}

// play makes a request with each of actions, fearing the worst about what is not
// known. What is denied is nil.
func (p player) play(request Request, actions []string) []*Release {
	known := func(key string) bool { return request.knows(key) || p.requester.knows(key) }
	resource, own := p.policy, p.requester.Identity
	switch {
	case p.identity:
		resource, own = nil, append(slices.Clone(own), p.policy)
	case own == nil:
		own = []*policy.Policy{everything}
	}
	if resource != nil {
		resource = resource.Assuming(known)
	}
	sure := make([]*policy.Policy, len(own))
	for i, o := range own {
		sure[i] = o.Assuming(known)
	}
	r := policy.Request{
		Principal: p.requester.Principal,
		Context:   with(request.context(), p.requester.keys()),
	}
	releases := make([]*Release, len(actions))
	for i, action := range actions {
		r.Action, r.Resource = action, p.keyARN
		if action == actionRandom {
			if !p.identity {
				continue // no key policy is asked
			}
			r.Resource = "*"
		}
		if d := policy.Authorize(resource, sure, r); d.Allowed {
			releases[i] = p.release(d, own, sure, known)
		}
	}
	return releases
}

// release says by what own policies, of which sure is what is known, and the
// policy itself allow.
func (p player) release(d policy.Decision, own, sure []*policy.Policy, known func(key string) bool) *Release {
	release := &Release{Requester: p.requester.Name}
	unknown := map[string]bool{}
	if d.Statement != nil {
		release.Statement = original(p.policy, d.Statement)
		addUnknown(unknown, release.Statement, known)
	}
	if d.Identity != nil {
		release.ByIdentity = !p.identity && p.requester.Identity == nil
		for i, o := range sure {
			if contains(o, d.Identity) {
				s := original(own[i], d.Identity)
				addUnknown(unknown, s, known)
				if p.identity && own[i] == p.policy {
					release.Statement = s
				}
			}
		}
	}
	release.If = slices.Sorted(maps.Keys(unknown))
	return release
}

// original is the statement of p from which Assuming made s.
func original(p *policy.Policy, s *policy.Statement) *policy.Statement { return &p.Statements[s.Index] }

// contains reports whether s is of p.
func contains(p *policy.Policy, s *policy.Statement) bool {
	for i := range p.Statements {
		if &p.Statements[i] == s {
			return true
		}
	}
	return false
}

func addUnknown(set map[string]bool, s *policy.Statement, known func(key string) bool) {
	for _, c := range s.Conditions {
		if !known(c.Key) {
			set[c.Key] = true
		}
	}
}
