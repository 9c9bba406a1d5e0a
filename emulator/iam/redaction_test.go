package iam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Nothing prints a secret, whatever the verb and the handler; all print who it is.
func TestRedacted(t *testing.T) {
	d, _ := newDirectory(t)
	session := mustKey(t)(d.AssumeRole(mustARN(t)(d.CreateRole(accountA, "r")), "s1", time.Hour))
	who, _ := d.Lookup(session.AccessKeyID)
	type holder struct {
		Identity    Identity
		Credentials *Credentials
		List        []Credentials
	}
	values := map[string]any{
		"credentials": session, "pointer": &session, "identity": who, "identity pointer": &who,
		"list": []Credentials{session}, "map": map[string]Identity{"x": who},
		"struct": holder{who, &session, []Credentials{session}}, "error": fmt.Errorf("of %v", who),
	}
	secrets := []string{session.SecretAccessKey, session.SessionToken, session.SessionToken[100:140]}
	check := func(t *testing.T, how, got string, named bool) {
		t.Helper()
		for _, secret := range secrets {
			if strings.Contains(got, secret) || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", secret)) {
				t.Errorf("%s: a secret is in %s", how, got)
			}
		}
		if named && !strings.Contains(got, session.AccessKeyID) {
			t.Errorf("%s: the access key id is not in %s", how, got)
		}
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				// A pointer within a struct prints as an address.
				check(t, verb, fmt.Sprintf(verb, v), name != "struct" && name != "error")
			}
			for how, handler := range map[string]func(*bytes.Buffer) slog.Handler{
				"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
				"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			} {
				var b bytes.Buffer
				slog.New(handler(&b)).Info("m", "v", v)
				check(t, how, b.String(), name != "error")
			}
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "JSON", string(b), name != "error")
		})
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		check(t, "directory "+verb, fmt.Sprintf(verb, d), false)
	}
}

func TestString(t *testing.T) {
	end := time.Date(2026, 3, 1, 13, 0, 0, 0, time.FixedZone("", 3600))
	key := Credentials{AccessKeyID: "AKIAX", SecretAccessKey: "s"}
	session := Credentials{AccessKeyID: "ASIAX", SecretAccessKey: "s", SessionToken: "t", Expires: end}
	who := Identity{AccessKeyID: "ASIAX", Secret: "s", Token: "t", Expires: end}
	who.Principal.ARN = "arn:aws:sts::111122223333:assumed-role/r/s1"
	for want, got := range map[string]interface {
		fmt.Stringer
		slog.LogValuer
	}{
		"AKIAX":                            key,
		"ASIAX until 2026-03-01T12:00:00Z": session,
		"arn:aws:sts::111122223333:assumed-role/r/s1 with ASIAX until 2026-03-01T12:00:00Z": who,
	} {
		if got.String() != want || got.LogValue().String() != want {
			t.Errorf("got %q and in a log %q, want %q", got, got.LogValue(), want)
		}
	}
}
