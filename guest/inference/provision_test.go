package inference_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/inference"
	"github.com/nitrolab/nitrolab/guest/inference/completion"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/guest/inference/sealed"
	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

// Every way to fail has its code, leaves the model that there was, and does not stand
// in the way of the next attempt.
func TestRefusals(t *testing.T) {
	key, other := make([]byte, sealed.KeySize), bytes.Repeat([]byte{1}, sealed.KeySize)
	file := func(change func(*keyService, *[]byte)) func(*testing.T, *world, *provision.Request) {
		return func(_ *testing.T, w *world, r *provision.Request) { change(w.kms, &r.Weights) }
	}
	faults := func(f ...http.HandlerFunc) func(*testing.T, *world, *provision.Request) {
		return func(_ *testing.T, w *world, _ *provision.Request) { w.kms.answersWith(f...) }
	}
	wrap := func(arn string, context map[string]string, with, wrap, plaintext []byte) func(*testing.T, *world, *provision.Request) {
		return func(t *testing.T, w *world, r *provision.Request) {
			r.Weights = w.kms.seal(t, sealed.Header{Name: "answers", KeyID: arn, Context: context}, with, wrap, plaintext)
		}
	}
	tests := []struct {
		name   string
		change func(*testing.T, *world, *provision.Request)
		want   provision.Code
		asked  int // requests to the key service
	}{
		{"denied", faults(exception(400, "AccessDeniedException", "not authorized")), provision.CodeDenied, 1},
		{"token expired", faults(exception(400, "ExpiredTokenException", "")), provision.CodeCredentials, 1},
		{"key disabled", faults(exception(400, "DisabledException", "")), provision.CodeRefused, 1},
		{"throttled", faults(always(exception(400, "ThrottlingException", "Rate exceeded"))...), provision.CodeThrottled, 3},
		{"server errors", faults(always(exception(500, "KMSInternalException", ""))...), provision.CodeUnavailable, 3},
		{"resets", faults(always(reset)...), provision.CodeUnavailable, 3},
		{"silence", faults(always(silent)...), provision.CodeTimeout, 3},
		{"an answer that is none", faults(object([]int{1})), provision.CodeAnswer, 1},
		{"an answer without a secret", faults(object(map[string]string{"KeyId": keyARN})), provision.CodeAnswer, 1},
		{"an answer that is not sealed to anyone", faults(object(map[string]any{"KeyId": keyARN, "CiphertextForRecipient": []byte("secret")})), provision.CodeAnswer, 1},
		{"an answer by a key of another account", faults(object(map[string]any{"KeyId": theirARN, "CiphertextForRecipient": []byte("x")})), provision.CodeKey, 1},
		{"an answer in the clear", faults(object(map[string]any{"KeyId": keyARN, "Plaintext": key})), provision.CodePlaintext, 1},
		{"somebody else's certificate", func(_ *testing.T, w *world, _ *provision.Request) { w.kms.be(stranger, false) }, provision.CodeCertificate, 0},
		{"no key service", func(_ *testing.T, w *world, _ *provision.Request) { w.kms.refusing.Store(true) }, provision.CodeUnavailable, 0},

		{"another key of the owner", wrap(account+"key/another", pinned(), key, key, weights.Model()), provision.CodeKey, 1},
		{"another account's key", wrap(theirARN, pinned(), key, key, weights.Model()), provision.CodeKey, 1},
		{"no context", wrap(keyARN, nil, key, key, weights.Model()), provision.CodeContext, 0},
		{"another context", wrap(keyARN, map[string]string{"model": "questions"}, key, key, weights.Model()), provision.CodeContext, 0},
		{"more context", wrap(keyARN, map[string]string{"model": "answers", "more": ""}, key, key, weights.Model()), provision.CodeContext, 0},
		{"wrapped for another context than it says", func(t *testing.T, w *world, r *provision.Request) {
			r.Weights = w.kms.wrap(t, keyARN, pinned(), weights.Model())
			w.kms.rewrap(func(b *wrapped) { b.context = map[string]string{"model": "questions"} })
		}, provision.CodeRefused, 1},

		{"no sealed file", file(func(_ *keyService, f *[]byte) { *f = []byte("weights") }), provision.CodeWeights, 0},
		{"cut off", file(func(_ *keyService, f *[]byte) { *f = (*f)[:len(*f)-1] }), provision.CodeWeights, 1},
		{"a bit changed", file(func(_ *keyService, f *[]byte) { (*f)[len(*f)/2] ^= 1 }), provision.CodeWeights, 1},
		{"name changed", file(func(_ *keyService, f *[]byte) { *f = bytes.Replace(*f, []byte("answers"), []byte("answerS"), 1) }), provision.CodeWeights, 1},
		{"another data key", wrap(keyARN, pinned(), key, other, weights.Model()), provision.CodeWeights, 1},
		{"data key of AES-128", wrap(keyARN, pinned(), key, key[:16], weights.Model()), provision.CodeAnswer, 1},
		{"no data key", wrap(keyARN, pinned(), key, nil, weights.Model()), provision.CodeAnswer, 1},
		{"no model inside", wrap(keyARN, pinned(), key, key, []byte("not a model")), provision.CodeWeights, 1},
		{"nothing inside", wrap(keyARN, pinned(), key, key, nil), provision.CodeWeights, 1},

		{"a protection to switch off", func(_ *testing.T, _ *world, r *provision.Request) { r.Weaken = weaken.KeyBinding }, provision.CodeRequest, 0},
		{"an unknown protection", func(_ *testing.T, _ *world, r *provision.Request) { r.Weaken = "everything" }, provision.CodeRequest, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				attempt := func(when string) {
					r := provision.Request{Credentials: credentials(), Weights: w.kms.wrap(t, keyARN, pinned(), weights.Model())}
					tt.change(t, w, &r)
					if code := w.code(t, r); code != tt.want {
						t.Errorf("%s: code %q, want %q\n%s", when, code, tt.want, w.logged)
					}
				}
				attempt("at first")
				if n := len(w.kms.requests()); n != tt.asked {
					t.Errorf("%d requests to the key service, want %d", n, tt.asked)
				}
				c := w.client(t)
				_, err := completion.Ask(t.Context(), c, "x", 1)
				if code := refusal(t, err); code != completion.CodeNoModel {
					t.Errorf("a prompt after it: %v", err)
				}

				w.kms.recover()
				w.ready(t)
				answers(t, c)
				attempt("with a model")
				answers(t, c)
			})
		})
	}
}

// What may pass is tried again: the parent need not know.
func TestTransientFaults(t *testing.T) {
	for name, faults := range map[string][]http.HandlerFunc{
		"throttled":       {exception(400, "ThrottlingException", "")},
		"server errors":   {exception(500, "KMSInternalException", ""), exception(503, "", "")},
		"resets":          {reset, reset},
		"silence":         {silent},
		"one of each two": {reset, exception(400, "ThrottlingException", "")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				w.kms.answersWith(faults...)
				w.ready(t)
				if n := len(w.kms.requests()); n != len(faults)+1 {
					t.Errorf("%d requests, want %d", n, len(faults)+1)
				}
			})
		})
	}
}

// The configured limits of time are used.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(c *inference.Config) { c.AttemptTimeout, c.Timeout = time.Second, 2*time.Second })
		w.kms.answersWith(always(silent)...)
		before := time.Now()
		r := provision.Request{Credentials: credentials(), Weights: w.kms.wrap(t, keyARN, pinned(), weights.Model())}
		if code, took := w.code(t, r), time.Since(before); code != provision.CodeTimeout || took > 2*time.Second {
			t.Errorf("code %q after %v", code, took)
		}
		if n := len(w.kms.requests()); n < 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// Attacks of a parent, each beside the run in which the one protection is off and the
// attack succeeds: the enclave runs the parent's model.
func TestAttacks(t *testing.T) {
	own := func(t *testing.T, w *world) []byte {
		return w.kms.wrap(t, theirARN, map[string]string{"any": "thing"}, zeros(t))
	}
	tests := []struct {
		protection weaken.Protection
		code       provision.Code
		weights    func(*testing.T, *world) []byte // and what else the parent does
	}{
		// Weights of the parent's own, under a key of its own account.
		{weaken.KeyBinding, provision.CodeContext, own},
		{weaken.KeyBinding, provision.CodeKey, func(t *testing.T, w *world) []byte {
			return w.kms.wrap(t, theirARN, pinned(), zeros(t))
		}},
		// A man in the middle who knows the data key of a file that he made himself.
		{weaken.ServiceTLS, provision.CodeCertificate, func(t *testing.T, w *world) []byte {
			w.kms.be(stranger, false)
			return w.kms.wrap(t, keyARN, pinned(), zeros(t))
		}},
		// A service that answers without a look at the document.
		{weaken.SealedAnswer, provision.CodePlaintext, func(t *testing.T, w *world) []byte {
			w.kms.be(trusted, true)
			return w.kms.wrap(t, keyARN, pinned(), zeros(t))
		}},
	}
	for _, tt := range tests {
		t.Run(string(tt.protection)+", "+string(tt.code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				r := provision.Request{Credentials: credentials(), Weights: tt.weights(t, w)}
				if code := w.code(t, r); code != tt.code {
					t.Errorf("code %q, want %q", code, tt.code)
				}
				_, err := completion.Ask(t.Context(), w.client(t), "x", 1)
				if code := refusal(t, err); code != completion.CodeNoModel {
					t.Errorf("a prompt after it: %v", err)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				w := start(t, func(c *inference.Config) {
					c.Weaken = func(p weaken.Protection) (weaken.Set, error) { return weaken.Only(p), nil }
				})
				r := provision.Request{Credentials: credentials(), Weights: tt.weights(t, w)}
				if code := w.code(t, r); code != tt.code {
					t.Errorf("without a protection to switch off: code %q, want %q", code, tt.code)
				}
				r.Weaken = tt.protection
				if _, err := w.provision(t, r); err != nil {
					t.Fatalf("with the protection off: %v", err)
				}
				got, err := completion.Ask(t.Context(), w.client(t), "x", 3)
				if want := zerosSay(t, "x", 3); err != nil || got != want {
					t.Errorf("the parent's model makes %q, %v; want %q", got, err, want)
				}
			})
		})
	}
}

// A parent with credentials of its own account, where it has an alias of the same name
// for a key of its own: the account in the ARN is the protection.
func TestAliasOfAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		c := credentials()
		c.AccessKeyID = theirAccessKey
		if code := w.code(t, provision.Request{Credentials: c, Weights: w.kms.wrap(t, theirARN, pinned(), zeros(t))}); code != provision.CodeKey {
			t.Errorf("code %q, want %q", code, provision.CodeKey)
		}
		w.ready(t)
	})
}

// A hook that does not know a protection refuses it.
func TestWeakenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(c *inference.Config) {
			c.Weaken = func(weaken.Protection) (weaken.Set, error) { return weaken.Set{}, errors.New("not this one") }
		})
		_, err := w.provision(t, provision.Request{
			Credentials: credentials(), Weaken: weaken.ZeroPCR, Weights: w.kms.wrap(t, keyARN, pinned(), weights.Model()),
		})
		if err == nil || err.Error() != "enclave refused: not this one (request)" {
			t.Errorf("error %v", err)
		}
	})
}

// frame is a field of the provision protocol.
func frame(content string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(content)))) + content
}

// What is no request is answered, if it ends, and does no harm.
func TestHostileRequests(t *testing.T) {
	const head = `{"credentials":{"access_key_id":"A","secret_access_key":"` + secret + `","session_token":""}}`
	tests := []struct {
		name, sent string
		reply      string // part of; empty for none
	}{
		{"nothing", "", ""},
		{"half a length", "\x00\x00", ""},
		{"length of zero", "\x00\x00\x00\x00", "0 bytes, allowed are 1 to 16384"},
		{"greatest length", "\xff\xff\xff\xff", "4294967295 bytes"},
		{"half of the credentials", frame(head)[:60], ""},
		{"no JSON", frame(secret), "not the JSON object that was expected"},
		{"null", frame("null"), "not the JSON object"},
		{"unknown member", frame(`{"credentials":{"access_key_id":"A","secret_access_key":"` + secret + `"},"key_id":"alias/mine"}`), "not the JSON object"},
		{"two objects", frame(head + head), "something follows"},
		{"no credentials", frame("{}"), "credentials without access_key_id"},
		{"no weights", frame(head), ""},
		{"weights of length zero", frame(head) + "\x00\x00\x00\x00", "weights: 0 bytes"},
		{"weights without a limit", frame(head) + "\x7f\xff\xff\xff", "weights: 2147483647 bytes"},
		{"half of the weights", frame(head) + "\x00\x00\x00\x02x", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, nil)
				c, err := w.provisioning.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, tt.sent); err != nil {
					t.Fatal(err)
				}
				if tt.reply == "" {
					c.Close()
				} else if _, err := provision.ReadReply(c); err == nil || !strings.Contains(err.Error(), tt.reply) ||
					!strings.HasSuffix(err.Error(), "(request)") || strings.Contains(err.Error(), secret) {
					t.Errorf("reply %v, want %q", err, tt.reply)
				}
				w.ready(t)
			})
		})
	}
}

// Two parents at a time, or one in two programs: the second waits.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		c, err := w.provisioning.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { c.Close() })
		before := time.Now()
		w.ready(t)
		if took := time.Since(before); took != time.Minute {
			t.Errorf("the second was served after %v", took)
		}
	})
}

// The secrets of the exchange are in no request to the key service but where they
// belong, and nowhere in replies.
func TestSecretsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		file := w.kms.wrap(t, keyARN, pinned(), []byte("not a model, and secret"))
		var dataKey []byte
		w.kms.rewrap(func(b *wrapped) { dataKey = b.dataKey })
		ours, theirs := net.Pipe()
		var seen bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		to, err := w.provisioning.dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		copied := make(chan struct{})
		go func() {
			defer close(copied)
			defer theirs.Close()
			io.Copy(io.MultiWriter(theirs, &seen), to)
		}()
		go io.Copy(to, theirs)
		_, err = provision.Send(ctx, ours, provision.Request{Credentials: credentials(), Weights: file})
		<-copied
		to.Close()
		if err == nil {
			t.Error("it took what is no model")
		}
		for _, s := range []string{secret, token, string(dataKey), base64.StdEncoding.EncodeToString(dataKey), "and secret"} {
			if strings.Contains(seen.String(), s) || strings.Contains(w.logged.String(), s) {
				t.Errorf("reply %q and log %q have %q", &seen, w.logged, s)
			}
		}
	})
}

func zerosSay(t *testing.T, prompt string, n int) string {
	t.Helper()
	m, err := model.Load(zeros(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Complete(t.Context(), prompt, n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
