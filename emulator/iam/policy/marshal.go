package policy

import (
	"bytes"
	"encoding/json"
)

// MarshalJSON writes the policy so that [Parse] reads the same from it: members
// in AWS's order, a list of one as a string, no escapes for HTML.
func (p *Policy) MarshalJSON() ([]byte, error) {
	return encode(struct {
		Version   string       `json:",omitempty"`
		ID        string       `json:"Id,omitempty"`
		Statement []*statement `json:"Statement"`
	}{p.Version, p.ID, statements(p)})
}

// A statement is the JSON form of a Statement.
type statement struct {
	Sid          string `json:",omitempty"`
	Effect       string
	Principal    *principals `json:",omitempty"`
	NotPrincipal *principals `json:",omitempty"`
	Action       stringList  `json:",omitempty"`
	NotAction    stringList  `json:",omitempty"`
	Resource     stringList  `json:",omitempty"`
	NotResource  stringList  `json:",omitempty"`
	Condition    conditions  `json:",omitempty"`
}

func statements(p *Policy) []*statement {
	list := make([]*statement, len(p.Statements))
	for i := range p.Statements {
		s := &p.Statements[i]
		list[i] = &statement{
			s.Sid, s.Effect.String(), (*principals)(s.Principal), (*principals)(s.NotPrincipal),
			s.Action, s.NotAction, s.Resource, s.NotResource, s.Conditions,
		}
	}
	return list
}

type principals Principals

func (p *principals) MarshalJSON() ([]byte, error) {
	if p.Any {
		return []byte(`"*"`), nil
	}
	return encode(struct {
		AWS       stringList `json:",omitempty"`
		Service   stringList `json:",omitempty"`
		Federated stringList `json:",omitempty"`
	}{p.AWS, p.Service, p.Federated})
}

type stringList []string

func (l stringList) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return encode(l[0])
	}
	return encode([]string(l))
}

// conditions are written by operator, in the order of the policy.
type conditions []Condition

func (l conditions) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, c := range l {
		if i > 0 && l[i-1].Operator == c.Operator {
			b.WriteByte(',')
		} else {
			if i > 0 {
				b.WriteString("},")
			}
			b.WriteString(`"` + c.Operator.String() + `":{`)
		}
		key, err := encode(c.Key)
		if err != nil {
			return nil, err
		}
		values, err := encode(stringList(c.Values))
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(values)
	}
	if len(l) > 0 {
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encode is json.Marshal without escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
