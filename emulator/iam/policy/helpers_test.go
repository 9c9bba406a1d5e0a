package policy

import (
	"fmt"
	"testing"
)

const (
	testAccount = "111122223333"
	testKey     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
)

// People who ask.
var (
	alice = Principal{Account: testAccount, ARN: "arn:aws:iam::111122223333:user/alice"}
	root  = Principal{Account: testAccount, ARN: "arn:aws:iam::111122223333:root"}
	app   = Principal{
		Account: testAccount,
		ARN:     "arn:aws:sts::111122223333:assumed-role/app/i-1",
		Role:    "arn:aws:iam::111122223333:role/team/app",
	}
	stranger = Principal{Account: "444455556666", ARN: "arn:aws:iam::444455556666:user/eve"}
	landlord = Principal{Account: "444455556666", ARN: "arn:aws:iam::444455556666:root"}
)

func mustParse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// doc is a policy of statements.
func doc(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

// allow is a statement that allows kms:Decrypt to everybody but for more, which are
// members with a comma before each.
func allow(more string) string {
	return `{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*"` + more + `}`
}

func decrypt(who Principal, context map[string][]string) Request {
	return Request{Action: "kms:Decrypt", Resource: testKey, Principal: who, Context: context}
}

// holds evaluates one condition of a policy.
func holds(t testing.TB, operator, values string, context map[string][]string) bool {
	t.Helper()
	p := mustParse(t, doc(allow(fmt.Sprintf(`,"Condition":{%q:{"a:Key":%s}}`, operator, values))))
	return p.Evaluate(decrypt(alice, context)).Effect == Allow
}
