package keys

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
)

// forms are the ways in which bytes show in a text.
func forms(b []byte) []string {
	decimal := fmt.Sprintf("%d", b)
	return []string{
		string(b), fmt.Sprintf("%q", b), decimal[1 : len(decimal)-1],
		hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), fmt.Sprintf("% x", b),
		base64.StdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b),
		strings.ReplaceAll(fmt.Sprintf("%#v", b), "[]byte{", ""),
	}
}

// texts prints v in every way that a log or an error might. %p is not among them: no
// method is called for it, and go vet refuses it for what is no pointer.
func texts(tb testing.TB, v any) map[string]string {
	tb.Helper()
	out := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%t"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	out["error"] = fmt.Errorf("failed with %v", v).Error()
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
	out["slog text"], out["slog json"] = text.String(), js.String()
	if b, err := json.Marshal(v); err == nil {
		out["json"] = string(b)
	}
	if m, ok := v.(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		must(tb, err)
		out["text"] = string(b)
	}
	return out
}

// Key material and plaintext are in nothing that the package's types print.
func TestSecretsAreNotPrintable(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	e := got(r.look(k.ID))(t)
	ecc := got(r.look(create(t, r, ECCP256, SignVerify).ID))(t)
	rsa := got(r.look(create(t, r, RSA2048, SignVerify).ID))(t)
	scalar := got(ecc.current().private().ec.Bytes())(t)
	prime := rsa.current().private().rsa.Primes[0]
	data := got(r.GenerateDataKey(k.ID, 32, nil))(t)
	pair := got(r.GenerateDataKeyPair(k.ID, ECCP256, nil))(t)
	plain := got(r.Decrypt(k.ID, "", data.Blob, nil))(t)
	secret := bytes.Clone(data.Plaintext)

	primes := append(forms(prime.Bytes()), prime.String())
	for _, test := range []struct {
		name   string
		hidden []string
		values []any
	}{
		{"symmetric", forms(e.current().private().secret), []any{r, *k, k, e, *e, e.materials, e.current(), *e.current(), struct{ M *material }{e.current()}, struct{ m material }{*e.current()}}},
		{"ECC", append(forms(scalar), new(big.Int).SetBytes(scalar).String()), []any{ecc, *ecc, ecc.materials, ecc.current(), *ecc.current()}},
		{"RSA", primes, []any{rsa, *rsa, rsa.materials, rsa.current(), *rsa.current()}},
		{"data key", forms(secret), []any{data, &data, data.Plaintext, plain, &plain, []Secret{data.Plaintext}, map[string]Secret{"k": data.Plaintext}}},
		{"key pair", forms(pair.PrivateKey), []any{pair, &pair, pair.PrivateKey}},
	} {
		for _, v := range test.values {
			for how, text := range texts(t, v) {
				for _, hidden := range test.hidden {
					if strings.Contains(text, hidden) {
						t.Errorf("%s: %T by %s shows it", test.name, v, how)
					}
				}
			}
		}
	}
	// The check itself finds what is there.
	if !strings.Contains(texts(t, []byte(secret))["%x"], forms(secret)[3]) {
		t.Error("the test does not see plain bytes")
	}
	if s := fmt.Sprintf("%d", e.current()); s != "[redacted key material]" {
		t.Errorf("a material prints as %q", s)
	}
	if s := fmt.Sprint(data.Plaintext); s != "[redacted 32 bytes]" {
		t.Errorf("a Secret prints as %q", s)
	}
}

// A Secret is bytes for whoever wants them, until it is wiped.
func TestSecretIsBytes(t *testing.T) {
	s := Secret("abc")
	var b []byte = s
	if string(b) != "abc" {
		t.Errorf("bytes %q", b)
	}
	s.Wipe()
	if !bytes.Equal(b, make([]byte, 3)) {
		t.Errorf("after Wipe %q", b)
	}
}

func TestErrorsCarryExceptionAndCause(t *testing.T) {
	cause := errors.New("disk full")
	err := fmt.Errorf("wrapped: %w", internal("store change", cause))
	var e *Error
	if !errors.As(err, &e) || e.Exception != ErrInternal || !errors.Is(err, ErrInternal) || !errors.Is(err, cause) {
		t.Errorf("error %#v", err)
	}
	if errors.Is(err, ErrNotFound) {
		t.Error("it is ErrNotFound too")
	}
	if got := ErrNotFound.Error(); got != "NotFoundException" {
		t.Errorf("exception %q", got)
	}
	if want := "wrapped: KMSInternalException: store change: disk full"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}
