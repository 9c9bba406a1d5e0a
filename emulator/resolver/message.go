package resolver

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// maxPayload is the size of UDP payloads that an answer with EDNS advertises, as
// the DNS flag day of 2020 recommends. Nothing here depends on it.
const maxPayload = 1232

// maxAdditionals bounds the records of a query beside its question. A query with
// EDNS has one, one that is signed (RFC 8945) two.
const maxAdditionals = 8

// An edns is what a query says with its OPT record (RFC 6891), and what its answer
// says in turn.
type edns struct {
	version  byte
	extended dnsmessage.RCode // of the answer, in place of that in its header; zero for none
}

// ednsOf returns the EDNS of a query whose questions have been read; nil if it has
// none. Records of other sections are not looked at.
func ednsOf(p *dnsmessage.Parser) (*edns, error) {
	if err := p.SkipAllAnswers(); err != nil {
		return nil, err
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return nil, err
	}
	var found *edns
	for range maxAdditionals {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Type == dnsmessage.TypeOPT {
			if found != nil || h.Name.String() != "." {
				return nil, errOPT
			}
			found = &edns{version: byte(h.TTL >> 16)}
		}
		if err := p.SkipAdditional(); err != nil {
			return nil, err
		}
	}
	return nil, errOPT
}

// A response is an answer before it is packed.
type response struct {
	header   dnsmessage.Header
	question *dnsmessage.Question // nil if it could not be read
	addrs    []netip.Addr
	edns     *edns
}

// pack makes the message. It fails only for a question that cannot be packed
// again, and then there is no answer.
func (m *response) pack() ([]byte, bool) {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), m.header)
	b.EnableCompression()
	if m.question != nil {
		if b.StartQuestions() != nil || b.Question(*m.question) != nil {
			return nil, false
		}
		if b.StartAnswers() != nil {
			return nil, false
		}
		for _, a := range m.addrs {
			if m.add(&b, a) != nil {
				return nil, false
			}
		}
	}
	if m.edns != nil {
		var h dnsmessage.ResourceHeader
		code := m.edns.extended
		if code == 0 {
			code = m.header.RCode
		}
		if h.SetEDNS0(maxPayload, code, false) != nil || b.StartAdditionals() != nil || b.OPTResource(h, dnsmessage.OPTResource{}) != nil {
			return nil, false
		}
	}
	out, err := b.Finish()
	return out, err == nil
}

// add adds one record.
func (m *response) add(b *dnsmessage.Builder, a netip.Addr) error {
	h := dnsmessage.ResourceHeader{Name: m.question.Name, Class: dnsmessage.ClassINET, TTL: TTL}
	if a.Is4() {
		return b.AResource(h, dnsmessage.AResource{A: a.As4()})
	}
	return b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: a.As16()})
}
