package imds

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of IMDSv2.
const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// tokenPath is where tokens come from.
const tokenPath = "/latest/api/token"

// ServeHTTP answers one request:
//
//	PUT /latest/api/token  a token; 400 without a good life in seconds, 403 for a
//	                       request that a proxy has passed on (X-Forwarded-For)
//	GET, HEAD              an item, or the list of a folder; 401 without a token
//	                       that lives, 404 if there is nothing
//	anything else          405
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Server", "EC2ws") // what clients know the service by
	h.Set("Accept-Ranges", "none")
	if r.URL.Path == tokenPath {
		s.serveToken(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuseMethod(w, "GET, HEAD")
		return
	}
	if !s.admit(w, r) {
		refuse(w, http.StatusUnauthorized)
		return
	}
	switch n := s.root.find(r.URL.Path).(type) {
	case folder:
		answer(w, "text/plain", n.list())
	case leaf:
		content, modified := n.content(r.Context())
		if content == nil {
			refuse(w, http.StatusInternalServerError)
			return
		}
		h.Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
		answer(w, n.contentType, content)
	default:
		refuse(w, http.StatusNotFound)
	}
}

// serveToken gives a token out. The check for a proxy comes first: that is what it
// is for, whatever else is wrong with the request.
func (s *Service) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		refuseMethod(w, "OPTIONS, PUT")
		return
	}
	if _, proxied := r.Header["X-Forwarded-For"]; proxied {
		refuse(w, http.StatusForbidden)
		return
	}
	values := r.Header.Values(ttlHeader)
	if len(values) != 1 {
		refuse(w, http.StatusBadRequest)
		return
	}
	ttl, ok := parseTTL(values[0])
	if !ok {
		refuse(w, http.StatusBadRequest)
		return
	}
	setTTL(w, ttl)
	answer(w, "text/plain", []byte(s.tokens.issue(ttl)))
}

// admit reports whether a request may have what it asks for. A token that is bad is
// refused also where none is needed.
func (s *Service) admit(w http.ResponseWriter, r *http.Request) bool {
	values := r.Header.Values(tokenHeader)
	if len(values) == 0 {
		return s.cfg.V1
	}
	left := s.tokens.left(values[0])
	if len(values) > 1 || left <= 0 {
		return false
	}
	setTTL(w, left)
	return true
}

// setTTL says how long a token lives yet, in whole seconds and at least one.
func setTTL(w http.ResponseWriter, left time.Duration) {
	seconds := (left + time.Second - 1) / time.Second
	w.Header().Set(ttlHeader, strconv.FormatInt(int64(seconds), 10))
}

func answer(w http.ResponseWriter, contentType string, content []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) // a client that has gone
}

// refuse answers with the page that people look for in logs. Nothing of the request
// is in it.
func refuse(w http.ResponseWriter, status int) {
	title := fmt.Sprintf("%d - %s", status, http.StatusText(status))
	page := `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>` + title + `</title>
 </head>
 <body>
  <h1>` + title + `</h1>
 </body>
</html>
`
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	_, _ = strings.NewReader(page).WriteTo(w)
}

// refuseMethod is a 405, which has no page.
func refuseMethod(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusMethodNotAllowed)
}
