package run

import (
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// told is what a verifier is told about a case, by placeholder. What is absent
// from the case is absent here.
func told(c vectors.Case, roots, document string, showID bool) map[string]string {
	t := map[string]string{
		"time":     c.Time.UTC().Format(time.RFC3339Nano),
		"unix":     strconv.FormatInt(c.Time.Unix(), 10),
		"roots":    roots,
		"document": document,
		"pcrs":     "",
	}
	for i, index := range slices.Sorted(maps.Keys(c.PCRs)) {
		value := hex.EncodeToString(c.PCRs[index])
		t[fmt.Sprintf("pcr%d", index)] = value
		if i > 0 {
			t["pcrs"] += ","
		}
		t["pcrs"] += fmt.Sprintf("%d=%s", index, value)
	}
	for name, value := range map[string]vectors.Hex{"nonce": c.Nonce, "user-data": c.UserData, "public-key": c.PublicKey} {
		if value != nil {
			t[name] = hex.EncodeToString(value)
		}
	}
	if c.MaxAgeSeconds > 0 {
		t["max-age"] = strconv.Itoa(c.MaxAgeSeconds)
	}
	if c.Archive {
		t["archive"] = "1"
	}
	if showID {
		t["case"] = c.ID
	}
	return t
}

// variables are the environment variables, by placeholder.
var variables = map[string]string{
	"time":       "NITROLAB_TIME",
	"roots":      "NITROLAB_ROOTS",
	"pcrs":       "NITROLAB_PCRS",
	"nonce":      "NITROLAB_NONCE",
	"user-data":  "NITROLAB_USER_DATA",
	"public-key": "NITROLAB_PUBLIC_KEY",
	"max-age":    "NITROLAB_MAX_AGE",
	"archive":    "NITROLAB_ARCHIVE",
	"case":       "NITROLAB_CASE",
}

// environment is base with the variables of a case, and no others of their
// names: a nonce that this process was given is not the case's.
func environment(base []string, told map[string]string) []string {
	names := slices.Collect(maps.Values(variables))
	env := slices.DeleteFunc(slices.Clone(base), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(names, name)
	})
	for _, placeholder := range slices.Sorted(maps.Keys(variables)) {
		if value, ok := told[placeholder]; ok {
			env = append(env, variables[placeholder]+"="+value)
		}
	}
	return env
}

// placeholder is {name}. Other text in braces stays as it is, for shells and awk.
var placeholder = regexp.MustCompile(`\{(?:time|unix|roots|document|pcrs|pcr(?:[0-9]|[12][0-9]|3[01])|nonce|user-data|public-key|max-age|archive|case)\}`)

// expand replaces placeholders in arguments. An argument that holds one without a
// value is left out.
func expand(args []string, told map[string]string) []string {
	var out []string
	for _, arg := range args {
		complete := true
		arg = placeholder.ReplaceAllStringFunc(arg, func(p string) string {
			value, ok := told[p[1:len(p)-1]]
			complete = complete && ok
			return value
		})
		if complete {
			out = append(out, arg)
		}
	}
	return out
}

// uses reports whether an argument holds the placeholder.
func uses(args []string, name string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "{"+name+"}") })
}

// A files is the run's directory, with what verifiers are given as files. Names
// say nothing about the case.
type files struct{ dir string }

// roots writes the root certificates of a case and gives the file's name.
func (f files) roots(corpus *vectors.Corpus, c vectors.Case, worker int) (string, error) {
	var pem []byte
	for _, root := range corpus.RootPEMs(c) {
		pem = append(pem, root...)
	}
	return f.write(fmt.Sprintf("roots-%d.pem", worker), pem)
}

// document writes the document of a case and gives the file's name.
func (f files) document(corpus *vectors.Corpus, c vectors.Case, worker int) (string, error) {
	return f.write(fmt.Sprintf("document-%d.cbor", worker), corpus.Bytes(c))
}

// write replaces the worker's file: it has one case at a time.
func (f files) write(name string, b []byte) (string, error) {
	path := f.dir + string(os.PathSeparator) + name
	return path, os.WriteFile(path, b, 0o600)
}
