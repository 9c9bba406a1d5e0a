package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// metadata is as much of the instance metadata service as the SDK asks: a session
// token first (IMDSv2), then the role, then its credentials.
func metadata(role string) http.Handler {
	mux := http.NewServeMux()
	const path = "/latest/meta-data/iam/security-credentials/"
	guard := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h(w, r)
		}
	}
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
		io.WriteString(w, "session")
	})
	if role == "" {
		return mux // other paths are 404
	}
	mux.HandleFunc("GET "+path+"{$}", guard(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, role) }))
	mux.HandleFunc("GET "+path+role, guard(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"`+secret+
			`","Token":"token","LastUpdated":"2026-11-25T12:00:00Z","Expiration":"2099-11-25T18:00:00Z"}`)
	}))
	return mux
}

// The role's credentials come from the metadata service, as the SDK asks it.
func TestRoleCredentials(t *testing.T) {
	get := func(role string) (string, error) {
		s := httptest.NewServer(metadata(role))
		defer s.Close()
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := roleCredentials(ctx)
		http.DefaultClient.CloseIdleConnections()
		return c.AccessKeyID + " " + c.SecretAccessKey + " " + c.SessionToken, err
	}
	got, err := get("parent")
	if want := "ASIAIOSFODNN7EXAMPLE " + secret + " token"; err != nil || got != want {
		t.Errorf("credentials %q, %v; want %q", got, err, want)
	}
	if got, err := get(""); err == nil || !strings.Contains(err.Error(), "404") || strings.TrimSpace(got) != "" {
		t.Errorf("an instance without a role: %q, %v", got, err)
	}
}
