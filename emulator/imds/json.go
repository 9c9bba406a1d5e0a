package imds

import (
	"bytes"
	"encoding/json"
)

// timeFormat is how AWS's services write a time.
const timeFormat = "2006-01-02T15:04:05Z"

// A member is one member of an object. Its value is a string, or nil for null.
type member struct {
	name  string
	value any
}

// object is JSON in the form in which the metadata service of AWS writes it, with
// a blank on both sides of a colon: scripts cut it with sed and grep.
func object(members ...member) []byte {
	var b bytes.Buffer
	b.WriteString("{\n")
	for i, m := range members {
		name, _ := json.Marshal(m.name) // strings cannot fail
		value, _ := json.Marshal(m.value)
		b.WriteString("  ")
		b.Write(name)
		b.WriteString(" : ")
		b.Write(value)
		if i < len(members)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("}")
	return b.Bytes()
}
