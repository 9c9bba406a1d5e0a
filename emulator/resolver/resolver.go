package resolver

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// TTL is how long an answer may be kept, in seconds, as that of AWS's own names.
const TTL = 60

// MaxAddresses bounds the addresses in an answer. More of what a [Lookup] returns
// are left out.
const MaxAddresses = 16

// A Lookup returns the addresses of a name, which comes in lower case and without
// the dot at its end. A name that exists and has no addresses is not the same as
// one that does not exist: musl's resolver gives a name up if the answer for IPv6
// says that there is none. It is called concurrently.
type Lookup func(name string) (addrs []netip.Addr, exists bool)

// Names are the addresses of names, in lower case and without the dot at their
// end. Names.Lookup is a [Lookup].
type Names map[string][]netip.Addr

// Lookup returns the addresses of one name.
func (n Names) Lookup(name string) (addrs []netip.Addr, exists bool) {
	addrs, exists = n[name]
	return addrs, exists
}

// A Resolver answers queries. Its methods may be called concurrently.
type Resolver struct{ lookup Lookup }

// New makes a resolver that knows what lookup does.
func New(lookup Lookup) *Resolver { return &Resolver{lookup} }

// Answer returns the answer to one message, without the length that precedes it on
// a stream. There is none to what is not a query: an answer to an answer could go
// on for ever. It returns at most 64 KiB.
//
//   - A and AAAA in class IN get the addresses of their kind, which may be none.
//   - Other types of a name that exists get none (RFC 2308 section 2.2).
//   - A name that does not exist is NXDOMAIN. There is no SOA record beside it, so
//     nobody may keep that (RFC 2308 section 5).
//   - Other operations and classes are NOTIMP, more or less than one question is
//     FORMERR, and a version of EDNS that is not 0 is BADVERS (RFC 6891 section
//     6.1.3).
func (r *Resolver) Answer(query []byte) (answer []byte, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil, false
	}
	reply := response{header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}}
	if h.OpCode != 0 {
		reply.header.RCode = dnsmessage.RCodeNotImplemented
		return reply.pack()
	}
	reply.header.RCode = dnsmessage.RCodeFormatError
	questions, err := p.AllQuestions()
	if err != nil || len(questions) != 1 {
		return reply.pack()
	}
	reply.question = &questions[0]
	reply.edns, err = ednsOf(&p)
	switch {
	case err != nil:
		reply.edns = nil
	case reply.edns != nil && reply.edns.version != 0:
		reply.edns.extended = dnsmessage.RCode(16) // BADVERS
		reply.header.RCode = dnsmessage.RCodeSuccess
	default:
		r.resolve(&reply)
	}
	return reply.pack()
}

// resolve fills in the answer to the question of reply.
func (r *Resolver) resolve(reply *response) {
	q := reply.question
	if q.Class != dnsmessage.ClassINET && q.Class != dnsmessage.ClassANY {
		reply.header.RCode = dnsmessage.RCodeNotImplemented
		return
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	addrs, exists := r.lookup(name)
	if !exists {
		reply.header.RCode = dnsmessage.RCodeNameError
		return
	}
	reply.header.RCode = dnsmessage.RCodeSuccess
	for _, a := range addrs {
		a = a.Unmap()
		wanted := q.Type == dnsmessage.TypeALL || a.Is4() && q.Type == dnsmessage.TypeA || a.Is6() && q.Type == dnsmessage.TypeAAAA
		if wanted && len(reply.addrs) < MaxAddresses {
			reply.addrs = append(reply.addrs, a)
		}
	}
}
