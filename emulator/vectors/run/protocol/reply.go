package protocol

import (
	"encoding/json"
	"fmt"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// A Reply is the verdict about one request.
type Reply struct {
	// ID of the request.
	ID int `json:"id"`

	// Verdict is vectors.Accept or vectors.Reject.
	Verdict vectors.Verdict `json:"verdict"`

	// Reason is text for people, shown beside a wrong verdict.
	Reason string `json:"reason,omitempty"`
}

// ParseReply reads one line of at most [MaxReply] bytes, which has to be the
// reply to request id. Members that it does not know are ignored.
func ParseReply(line []byte, id int) (Reply, error) {
	if len(line) > MaxReply {
		return Reply{}, fmt.Errorf("reply has %d bytes; allowed are %d", len(line), MaxReply)
	}
	var r struct {
		ID      *int            `json:"id"`
		Verdict vectors.Verdict `json:"verdict"`
		Reason  string          `json:"reason"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return Reply{}, fmt.Errorf("reply is %.60q; it must be an object with id and verdict: %w", line, err)
	}
	if r.ID == nil {
		return Reply{}, fmt.Errorf("id is missing in the reply; it must be %d as in the request", id)
	}
	if *r.ID != id {
		return Reply{}, fmt.Errorf("id is %d in the reply; it must be %d as in the request", *r.ID, id)
	}
	if r.Verdict != vectors.Accept && r.Verdict != vectors.Reject {
		return Reply{}, fmt.Errorf("verdict is %.40q; allowed are %s and %s", r.Verdict, vectors.Accept, vectors.Reject)
	}
	return Reply{ID: id, Verdict: r.Verdict, Reason: r.Reason}, nil
}

// maxReason is what of a reason is sent, in bytes; JSON makes up to six of one.
const maxReason = MaxReply/6 - 64

// Line is the reply as it is sent, with the end of the line. A reason that is too
// long is cut.
func (r Reply) Line() ([]byte, error) {
	r.Reason = r.Reason[:min(len(r.Reason), maxReason)]
	b, err := line(r, MaxReply)
	if err != nil {
		return nil, fmt.Errorf("reply %d: %w", r.ID, err)
	}
	return b, nil
}
