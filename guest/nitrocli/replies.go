package nitrocli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

// An answer is what one process said for standard output, and how it went.
type answer struct {
	json   json.RawMessage
	status int32
}

// maxAnswer bounds all text of one process for standard output.
const maxAnswer = 2 * wire.MaxReply

// readAnswer reads replies to their end, and passes text for standard error on
// as it comes. ok says that there was a JSON value and a status; a process that
// failed has none.
func (e *Env) readAnswer(conn *net.UnixConn, timeout time.Duration) (a answer, ok bool) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return answer{}, false
	}
	var stdout bytes.Buffer
	hasStatus := false
	for {
		r, err := wire.ReadReply(conn)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintf(e.Stderr, "enclave process: %v\n", err)
			}
			break
		}
		if r.Status != nil {
			a.status, hasStatus = *r.Status, true
		}
		fmt.Fprint(e.Stderr, r.Stderr)
		if stdout.Len()+len(r.Stdout) <= maxAnswer {
			stdout.WriteString(r.Stdout)
		}
	}
	a.json = stdout.Bytes()
	return a, hasStatus && json.Valid(a.json)
}

// readAnswers reads the answers of all connections, and closes them. failed is
// how many were none.
func (e *Env) readAnswers(conns []*net.UnixConn, timeout time.Duration) (answers []answer, failed int) {
	for _, conn := range conns {
		a, ok := e.readAnswer(conn, timeout)
		_ = conn.Close() // it has been read to its end
		if ok {
			answers = append(answers, a)
		} else {
			failed++
		}
	}
	return answers, failed
}

// printAnswers prints the answers of all connections, as an array or one by one,
// and closes them. failed are connections that failed before. allowed are the
// statuses that are no failure, besides 0.
func (e *Env) printAnswers(conns []*net.UnixConn, failed int, array bool, timeout time.Duration, allowed ...int32) ([]answer, error) {
	answers, more := e.readAnswers(conns, timeout)
	failed += more
	if failed > 0 {
		fmt.Fprintf(e.Stderr, "Failed connections: %d\n", failed)
	}
	values := make([]json.RawMessage, 0, len(answers))
	refused := 0
	for _, a := range answers {
		values = append(values, a.json)
		if a.status != 0 && !slices.Contains(allowed, a.status) {
			refused++
		}
	}
	var err error
	if array {
		err = e.printJSON(values)
	} else {
		for _, v := range values {
			err = errors.Join(err, e.printJSON(v))
		}
	}
	switch {
	case err != nil:
		return nil, err
	case refused > 0:
		return nil, failure.New(failure.EnclaveProcessCommandNotExecuted, "%d enclave processes failed", refused)
	case failed > 0:
		return nil, failure.New(failure.EnclaveProcessConnectionFailure, "%d enclave processes did not answer in full", failed)
	}
	return answers, nil
}

// stringsOf decodes answers that are strings; others are passed over.
func stringsOf(answers []answer) []string {
	var list []string
	for _, a := range answers {
		var s string
		if json.Unmarshal(a.json, &s) == nil {
			list = append(list, s)
		}
	}
	return list
}
