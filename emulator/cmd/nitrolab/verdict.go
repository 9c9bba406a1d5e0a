package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// print shows the checks as a table, or everything as JSON.
func (f *verifyFlags) print(w io.Writer, r *attestation.Result) error {
	err := r.Err()
	if f.json {
		if err := printJSON(w, verdictOf(r)); err != nil {
			return err
		}
	} else {
		printVerdict(newPrinter(w), r)
	}
	if err != nil {
		return &exitError{code: codeFailed}
	}
	return nil
}

func printVerdict(p *printer, r *attestation.Result) {
	for _, c := range r.Checks {
		p.line("%-11s %s %s", c.Name, p.status(c.Status), c.Detail)
	}
	var refused *attestation.VerifyError
	if errors.As(r.Err(), &refused) {
		p.line("%s: %d of %d checks failed", p.bad("refused"), len(refused.Failed), refused.Made)
		return
	}
	p.line("%s", p.good("accepted"))
}

// status is the outcome of a check in its colour, padded.
func (p *printer) status(s attestation.Status) string {
	text := fmt.Sprintf("%-7s", s)
	switch s {
	case attestation.OK:
		return p.good(text)
	case attestation.Failed:
		return p.bad(text)
	}
	return p.dim(text)
}

// A verdict is the JSON form of a result.
type verdict struct {
	Accepted bool           `json:"accepted"`
	Time     time.Time      `json:"time"`
	Checks   []verdictCheck `json:"checks"`
	Document *verdictDoc    `json:"document,omitempty"`
	Chain    []string       `json:"chain,omitempty"`
}

type verdictCheck struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail"`
}

type verdictDoc struct {
	ModuleID  string            `json:"module_id"`
	Digest    string            `json:"digest"`
	Timestamp time.Time         `json:"timestamp"`
	PCRs      map[string]string `json:"pcrs"`
	PublicKey *string           `json:"public_key"`
	UserData  *string           `json:"user_data"`
	Nonce     *string           `json:"nonce"`
}

func verdictOf(r *attestation.Result) verdict {
	v := verdict{Accepted: r.Err() == nil, Time: r.Time}
	for _, c := range r.Checks {
		v.Checks = append(v.Checks, verdictCheck{Name: c.Name, Status: c.Status.String(), Detail: c.Detail})
	}
	for _, c := range r.Chain {
		v.Chain = append(v.Chain, c.Subject.String())
	}
	if d := r.Document; d != nil {
		doc := verdictDoc{
			ModuleID:  d.ModuleID,
			Digest:    d.Digest,
			Timestamp: d.Time(),
			PCRs:      map[string]string{},
			PublicKey: hexOrNull(d.PublicKey),
			UserData:  hexOrNull(d.UserData),
			Nonce:     hexOrNull(d.Nonce),
		}
		for i, value := range d.PCRs {
			doc.PCRs[strconv.FormatUint(uint64(i), 10)] = hex.EncodeToString(value)
		}
		v.Document = &doc
	}
	return v
}

func hexOrNull(b []byte) *string {
	if b == nil {
		return nil
	}
	s := hex.EncodeToString(b)
	return &s
}
