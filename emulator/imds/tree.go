package imds

import (
	"context"
	"slices"
	"strings"
	"time"
)

// A node is a [folder] or a [leaf].
type node interface{ isNode() }

// A folder lists its names, in order.
type folder struct {
	nodes map[string]node
	bare  bool // names of folders are listed without a slash
}

// A leaf is one item. Its content is asked for at each request; nil is a failure of
// the service.
type leaf struct {
	contentType string
	content     func(context.Context) (content []byte, modified time.Time)
}

func (folder) isNode() {}
func (leaf) isNode()   {}

// find returns what is at a path; nil if there is nothing. Empty parts of a path do
// not count, so a slash too many at the end does no harm, as there.
func (f folder) find(path string) node {
	var n node = f
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		dir, ok := n.(folder)
		if !ok {
			return nil
		}
		if n, ok = dir.nodes[part]; !ok {
			return nil
		}
	}
	return n
}

// list is the text of a folder: a name a line, those of folders with a slash,
// without a line feed after the last.
func (f folder) list() []byte {
	var names []string
	for name, n := range f.nodes {
		if _, dir := n.(folder); dir && !f.bare {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return []byte(strings.Join(names, "\n"))
}

// versions are those of the service (Amazon EC2 User Guide, "Access instance
// metadata"). Here all have what the newest has.
var versions = []string{
	"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04",
	"2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30",
	"2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03", "2021-03-23",
	"2021-07-15", "2022-07-09", "2022-09-24", "2024-04-11", "latest",
}

// tree is all that the service has but for tokens.
func (s *Service) tree(id identity) folder {
	began := s.cfg.Clock()
	text := func(v string) node { return constant("text/plain", []byte(v), began) }
	version := folder{bare: true, nodes: map[string]node{
		"meta-data": s.metadata(text),
		"dynamic": folder{nodes: map[string]node{
			"fws": folder{nodes: map[string]node{"instance-monitoring": text("disabled")}},
			"instance-identity": folder{nodes: map[string]node{
				"document":  constant("text/plain", id.document, began),
				"signature": s.signature(id, began, func(v signatures) []byte { return v.raw }),
				"pkcs7":     s.signature(id, began, func(v signatures) []byte { return v.pkcs7 }),
				"rsa2048":   s.signature(id, began, func(v signatures) []byte { return v.pkcs7 }),
			}},
		}},
	}}
	if len(s.cfg.UserData) > 0 {
		version.nodes["user-data"] = constant("application/octet-stream", s.cfg.UserData, began)
	}
	root := folder{bare: true, nodes: map[string]node{}}
	for _, v := range versions {
		root.nodes[v] = version
	}
	return root
}

// metadata is the folder meta-data. What only an instance with a network, disks or
// a key pair has is not there.
func (s *Service) metadata(text func(string) node) folder {
	c := s.cfg
	f := folder{nodes: map[string]node{
		"ami-id":              text(c.ImageID),
		"ami-launch-index":    text("0"),
		"ami-manifest-path":   text("(unknown)"),
		"hostname":            text(c.Hostname),
		"instance-action":     text("none"),
		"instance-id":         text(c.InstanceID),
		"instance-life-cycle": text("on-demand"),
		"instance-type":       text(c.InstanceType),
		"local-hostname":      text(c.Hostname),
		"local-ipv4":          text(c.PrivateIP),
		"placement": folder{nodes: map[string]node{
			"availability-zone":    text(c.AvailabilityZone),
			"availability-zone-id": text(zoneID(c.AvailabilityZone, c.Region)),
			"region":               text(c.Region),
		}},
		"profile":         text("default-hvm"),
		"reservation-id":  text("r-" + strings.TrimPrefix(c.InstanceID, "i-")),
		"security-groups": text("default"),
		"services": folder{nodes: map[string]node{
			"domain":    text(domain(c.Region)),
			"partition": text(partition(c.Region)),
		}},
		"system": text("nitro"),
	}}
	if c.Role != "" {
		f.nodes["iam"] = s.iam()
	}
	return f
}

// signature is a leaf with one of the signatures.
func (s *Service) signature(id identity, began time.Time, pick func(signatures) []byte) leaf {
	return leaf{"text/plain", func(context.Context) ([]byte, time.Time) {
		v, err := id.signed()
		if err != nil { // a key whose parts do not belong together
			s.cfg.Log.Error("instance metadata", "instance", s.cfg.InstanceID, "err", err)
			return nil, began
		}
		return pick(v), began
	}}
}

// constant is a leaf that does not change.
func constant(contentType string, content []byte, modified time.Time) leaf {
	return leaf{contentType, func(context.Context) ([]byte, time.Time) { return content, modified }}
}
