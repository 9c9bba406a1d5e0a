package services

import (
	"errors"
	"testing"
)

func TestAccount(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/app"
	tests := []struct {
		name          string
		account, role string
		want          string
		err           string
	}{
		{"neither", "", "", DefaultAccount, ""},
		{"of the role", "", role, "123456789012", ""},
		{"both", "123456789012", role, "123456789012", ""},
		{"of its own", "999999999999", "", "999999999999", ""},
		{"short", "12", "", "", `account is "12"; allowed is a number of 12 digits`},
		{"another's role", "999999999999", role, "", "role is of account 123456789012; allowed is one of account 999999999999"},
		{"no ARN", "", "app", "", `role is "app"; allowed is an ARN like arn:aws:iam::123456789012:role/name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Config{Account: tt.account, Role: tt.role}.withDefaults()
			if err == nil && got.Account != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("account %q, error %v", got.Account, err)
			}
			var field *FieldError
			if err != nil && !errors.As(err, &field) {
				t.Errorf("error is a %T", err)
			}
		})
	}
}
