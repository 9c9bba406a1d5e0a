package debian

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// releases are the names under which the archive's main suites go, so that an
// entry of the machine's sources can be told to be Debian's main archive. A name
// that is missing here costs nothing but that entry; one that is too much
// neither, since the archive's signature decides in the end.
var releases = []string{
	"buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid",
	"oldoldstable", "oldstable", "stable", "testing", "unstable",
}

// A Mirror is a place that may have Debian's main archive.
type Mirror struct {
	URI      string
	SignedBy string // keyring that the machine checks it with; empty if unsaid
}

// MainMirrors picks from a machine's sources those that may be mirrors of
// Debian's main archive, likeliest first, and each once.
//
// An entry is one if it has the component main and a plain release name for
// suite: that leaves out security, updates and backports entries (the archive
// that they are in has a plain entry too, or is another archive), and third
// parties, who rarely use both. Those who do are told apart by their path or
// keyring, and at last by the signature, which no third party can have. CD-ROMs
// are left out: they cannot have newer suites.
func MainMirrors(sources []Source) []Mirror {
	type ranked struct {
		Mirror
		rank int
	}
	var found []ranked
	for _, s := range sources {
		if !has(s.Components, "main") || !slices.ContainsFunc(s.Suites, isRelease) || scheme(s.URI) == "cdrom" {
			continue
		}
		m := ranked{Mirror: Mirror{URI: strings.TrimRight(s.URI, "/"), SignedBy: s.SignedBy}}
		if strings.HasPrefix(path.Base(s.SignedBy), "debian-archive") {
			m.rank -= 2
		}
		if base := path.Base(m.URI); base == "debian" || strings.Contains(base, "debian.list") {
			m.rank-- // the usual path, and the mirror list of Debian's cloud images
		}
		if slices.ContainsFunc(found, func(o ranked) bool { return o.URI == m.URI }) {
			continue
		}
		found = append(found, m)
	}
	slices.SortStableFunc(found, func(a, b ranked) int { return a.rank - b.rank })
	out := make([]Mirror, len(found))
	for i, f := range found {
		out[i] = f.Mirror
	}
	return out
}

func isRelease(suite string) bool { return has(releases, strings.TrimRight(suite, "/")) }

func scheme(uri string) string {
	s, _, _ := strings.Cut(uri, ":")
	return strings.ToLower(s)
}

// Redact gives a URI without the password that it may hold, for messages and
// records.
func Redact(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.User == nil {
		return uri
	}
	u.User = url.User("-")
	return u.String()
}
