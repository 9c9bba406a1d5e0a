package vectors

import (
	"crypto/sha256"
	"regexp"
	"time"
)

// A recipe makes one case.
type recipe struct {
	id     string // without the group and its hyphen
	title  string
	wrong  string // empty: the title, unless the verdict is Accept
	fails  []string
	source string

	verdict Verdict // empty: Reject
	level   Level   // empty: Must

	// forge changes a good document, tell changes what the verifier is told.
	forge func(*draft)
	tell  func(*Case)

	// roots by name, instead of the emulated host's; pinned: the root of the
	// document's own chain, whatever it is.
	roots  []string
	pinned bool

	twin string // id of the twin, with its group
}

// kitchen has what recipes need and what comes out of them.
type kitchen struct {
	*keyring
	reference time.Time
	host      world // the emulated host, whose root is pinned
	corpus    *Corpus
	seen      map[string]bool
}

// Names of the root files that several cases share. Cases whose own root is
// odd have a file of their own.
const (
	rootHost  = "host"
	rootOther = "other"
)

func rootFile(name string) string { return "roots/" + name + ".pem" }

// worldOf is a PKI with the emulated names and keys of its own, issued when the
// corpus was.
func (k *kitchen) worldOf(label string) world {
	return world{keys: k.keyring, label: label, names: emulatedNames, issued: k.reference}
}

var goodID = regexp.MustCompile(`^(good|A[0-9]{1,2})-[a-z0-9]+(-[a-z0-9]+)*$`)

// cook adds the cases of the recipes to the corpus. Verdict, level, source and,
// for rejected documents, failing checks come from all where a recipe has none.
func (k *kitchen) cook(group string, all recipe, recipes []recipe) {
	for _, r := range recipes {
		if r.verdict == "" {
			r.verdict = all.verdict
		}
		if r.level == "" {
			r.level = all.level
		}
		if r.source == "" {
			r.source = all.source
		}
		if r.fails == nil && (r.verdict == "" || r.verdict == Reject) {
			r.fails = all.fails
		}
		k.add(group, r)
	}
}

func (k *kitchen) add(group string, r recipe) {
	c := Case{
		ID: group + "-" + r.id, Group: group, Title: r.title, Wrong: r.wrong,
		Verdict: r.verdict, Level: r.level, Fails: r.fails, Source: r.source, TwinOf: r.twin,
		Time: k.reference.Add(delay).UTC(),
		PCRs: k.expectPCRs(0, 1, 2),
	}
	if c.Verdict == "" {
		c.Verdict = Reject
	}
	if c.Wrong == "" && c.Verdict != Accept {
		c.Wrong = c.Title
	}
	if c.Level == "" {
		c.Level = Must
	}
	if !goodID.MatchString(c.ID) || len(c.ID) > maxID || k.seen[c.ID] {
		broken("case id %q is malformed or there twice", c.ID)
	}
	k.seen[c.ID] = true

	d := newDraft(k.host, k.reference)
	if r.forge != nil {
		r.forge(d)
	}
	document := d.document()
	c.Document = "documents/" + c.ID + ".cbor"
	sum := sha256.Sum256(document)
	c.SHA256 = sum[:]
	k.corpus.Documents[c.Document] = document

	switch {
	case r.pinned:
		c.Roots = []string{rootFile(c.ID)}
		k.corpus.Roots[c.Roots[0]] = rootPEM(d.certificates()[0])
	case r.roots != nil:
		c.Roots = []string{}
		for _, name := range r.roots {
			c.Roots = append(c.Roots, rootFile(name))
		}
	default:
		c.Roots = []string{rootFile(rootHost)}
	}
	if r.tell != nil {
		r.tell(&c)
	}
	k.corpus.Cases = append(k.corpus.Cases, c)
}

// expectPCRs are the production values of the registers.
func (k *kitchen) expectPCRs(indexes ...uint) map[uint]Hex {
	all, out := productionPCRs(k.keyring), make(map[uint]Hex)
	for _, i := range indexes {
		out[i] = all[i]
	}
	return out
}
