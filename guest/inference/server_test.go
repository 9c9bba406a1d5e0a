package inference_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/channel"
	"github.com/nitrolab/nitrolab/guest/inference/completion"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

// zeros is a model of which all characters are equally likely, so that it repeats the
// first of its vocabulary.
func zeros(t *testing.T) []byte {
	t.Helper()
	p, err := model.NewParams(model.Shape{Vocab: model.VocabSize, Context: 16, Layers: 1, Width: 8, Heads: 1, Hidden: 8})
	if err != nil {
		t.Fatal(err)
	}
	return model.Encode(p)
}

// answers checks that a client gets what the project's model says.
func answers(t *testing.T, c *channel.Conn) {
	t.Helper()
	e := weights.Examples()[0]
	got, err := completion.Ask(t.Context(), c, e.Prompt, len(e.Completion)+1)
	if err != nil || got != e.Completion {
		t.Errorf("%q is completed with %q, %v; want %q", e.Prompt, got, err, e.Completion)
	}
}

func refusal(t *testing.T, err error) completion.Code {
	t.Helper()
	var refused *completion.Error
	if !errors.As(err, &refused) {
		t.Fatalf("error %v", err)
	}
	return refused.Code
}

// From the start to prompts, in one session that sees everything.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		c := w.client(t)
		const prompt = "a secret prompt"
		_, err := completion.Ask(t.Context(), c, prompt, 10)
		if code := refusal(t, err); code != completion.CodeNoModel {
			t.Errorf("before provisioning: code %q", code)
		}

		w.ready(t)
		answers(t, c)
		e := weights.Examples()[1]
		if got, err := completion.Ask(t.Context(), c, e.Prompt, 1); err != nil || got != e.Completion[:1] {
			t.Errorf("one character = %q, %v; want %q", got, err, e.Completion[:1])
		}

		for _, tt := range []struct {
			name   string
			prompt string
			n      int
			want   completion.Code
		}{
			{"line feed", "two\nlines", 5, completion.CodePrompt},
			{"not ASCII", "schön", 5, completion.CodePrompt},
			{"longer than the context", strings.Repeat("x", completion.MaxPrompt), 5, completion.CodePrompt},
			{"no characters", "x", 0, completion.CodeRequest},
			{"too many characters", "x", completion.MaxCharacters + 1, completion.CodeRequest},
		} {
			_, err := completion.Ask(t.Context(), c, tt.prompt, tt.n)
			if code := refusal(t, err); code != tt.want {
				t.Errorf("%s: code %q, want %q", tt.name, code, tt.want)
			}
		}
		if err := c.Send(t.Context(), []byte("{}{}")); err != nil {
			t.Fatal(err)
		}
		frame, err := c.Receive(t.Context())
		if err != nil || !strings.Contains(string(frame), `"code":"request"`) {
			t.Errorf("a frame that is no request is answered with %s, %v", frame, err)
		}
		answers(t, c)
		if strings.Contains(w.logged.String(), prompt) {
			t.Errorf("the log has a prompt:\n%s", w.logged)
		}
	})
}

// What the key service is asked for: what the image says, by a document over a key.
func TestAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.ready(t)
		w.ready(t)
		got := w.kms.requests()
		if len(got) != 2 {
			t.Fatalf("%d requests", len(got))
		}
		for _, d := range got {
			if d.KeyID != alias || d.Recipient.KeyEncryptionAlgorithm != "RSAES_OAEP_SHA_256" || d.Token != token ||
				!strings.Contains(d.Authorization, "Credential=ASIAIOSFODNN7EXAMPLE/") {
				t.Errorf("request %+v", d)
			}
			if diff := cmp.Diff(pinned(), d.EncryptionContext); diff != "" {
				t.Errorf("encryption context (-want +got):\n%s", diff)
			}
		}
		if n := w.attested.Load(); n != 2 {
			t.Errorf("%d documents for 2 requests: one would get old", n)
		}
		if !recipient(got[0].Recipient.AttestationDocument).Equal(recipient(got[1].Recipient.AttestationDocument)) {
			t.Error("the second request is for another key")
		}
	})
}

// A model in the place of another, under prompts that are under way.
func TestReplace(t *testing.T) {
	w := start(t, nil)
	w.ready(t)
	e := weights.Examples()[0]
	second := provision.Request{Credentials: credentials(), Weights: w.kms.wrap(t, keyARN, pinned(), zeros(t))}
	var wg sync.WaitGroup
	for range 4 {
		c := w.client(t)
		wg.Go(func() {
			for range 5 {
				got, err := completion.Ask(t.Context(), c, e.Prompt, len(e.Completion)+1)
				var refused *completion.Error // the small model does not read so long a prompt
				if got != e.Completion && !(errors.As(err, &refused) && refused.Code == completion.CodePrompt) {
					t.Errorf("completion %q, %v", got, err)
				}
			}
		})
	}
	for range 2 {
		if _, err := w.provision(t, second); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	c := w.client(t)
	if got, err := completion.Ask(t.Context(), c, "x", 3); err != nil || got != zerosSay(t, "x", 3) {
		t.Errorf("the second model makes %q, %v", got, err)
	}
	w.ready(t)
	answers(t, c)
}

// The parent's time and the client's are limited.
func TestIdle(t *testing.T) {
	t.Run("parent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil)
			c, err := w.provisioning.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			before := time.Now()
			if _, err := c.Read(make([]byte, 1)); err != io.EOF || time.Since(before) != 3*time.Minute {
				t.Errorf("after %v: %v", time.Since(before), err)
			}
			w.ready(t)
		})
	})
	t.Run("client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, nil)
			c := w.client(t)
			before := time.Now()
			if _, err := c.Receive(t.Context()); err != io.EOF || time.Since(before) != 10*time.Minute {
				t.Errorf("after %v: %v", time.Since(before), err)
			}
		})
	})
}

// More clients than are served at a time wait for one to go.
func TestManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.ready(t)
		var first *channel.Conn
		for range 16 {
			first = w.client(t)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if c, err := w.inference.dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a 17th client: %v, %v", c, err)
		}
		first.Close()
		answers(t, w.client(t))
	})
}

// The end comes at once whatever is under way, and closes both listeners.
func TestServeEnds(t *testing.T) {
	broken := errors.New("accept failed")
	for _, which := range []string{"provisioning", "inference"} {
		t.Run(which+" fails", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.server(t, nil)
				served := make(chan error, 1)
				go func() { served <- s.Serve(t.Context(), w.provisioning, w.inference) }()
				session := w.client(t)
				parent, err := w.provisioning.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer parent.Close()
				ended := make(chan error, 1)
				go func() {
					_, err := session.Receive(t.Context())
					ended <- err
				}()
				if which == "inference" {
					w.inference.fails <- broken
				} else {
					parent.Close() // the one slot
					w.provisioning.fails <- broken
				}
				before := time.Now()
				if err := <-served; !errors.Is(err, broken) || time.Since(before) > time.Second {
					t.Errorf("Serve = %v after %v", err, time.Since(before))
				}
				for _, n := range []*network{w.provisioning, w.inference} {
					if _, err := n.Accept(); !errors.Is(err, net.ErrClosed) {
						t.Errorf("a listener is open: %v", err)
					}
				}
				if err := <-ended; err == nil {
					t.Error("a session goes on")
				}
			})
		})
	}
}

// The NSM fails: the parent and clients learn it, and nothing ends.
func TestAttestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.attestationFailed = errors.New("nsm is gone")
		r := provision.Request{Credentials: credentials(), Weights: w.kms.wrap(t, keyARN, pinned(), weights.Model())}
		if code := w.code(t, r); code != provision.CodeInternal {
			t.Errorf("code %q", code)
		}
		c, err := w.inference.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := channel.Client(t.Context(), c, w.channelConfig()); err == nil || !strings.Contains(err.Error(), "nsm is gone") {
			t.Errorf("channel: %v", err)
		}
		w.attestationFailed = nil
		w.ready(t)
		answers(t, w.client(t))
	})
}
