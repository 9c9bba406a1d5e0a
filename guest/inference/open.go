package inference

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/guest/inference/sealed"
	"github.com/nitrolab/nitrolab/guest/kmsclient"
	"github.com/nitrolab/nitrolab/guest/model"
)

// An opener gets weights out of what a parent sends.
type opener struct {
	cfg Config
	key *rsa.PrivateKey // what answers of the key service are sealed to
}

// open returns the model in a request. Every error is for the parent to read, who
// may know all of it.
func (o *opener) open(ctx context.Context, r provision.Request) (name string, _ *model.Model, _ *provision.Error) {
	weak, err := o.weakened(r.Weaken)
	if err != nil {
		return "", nil, &provision.Error{Code: provision.CodeRequest, Text: err.Error()}
	}
	header, err := sealed.ReadHeader(r.Weights)
	if err != nil {
		return "", nil, &provision.Error{Code: provision.CodeWeights, Text: err.Error()}
	}
	ask := kmsclient.Decrypt{KeyID: o.cfg.KeyID, Ciphertext: header.WrappedKey, Context: o.cfg.Context}
	if weak.Off(weaken.KeyBinding) {
		// Whatever key wrapped it and whatever context the file names: what an
		// enclave does that takes the parent's word.
		ask.KeyID, ask.Context = "", header.Context
	} else if !maps.Equal(header.Context, o.cfg.Context) {
		return "", nil, &provision.Error{Code: provision.CodeContext, Text: fmt.Sprintf("the file is for %v; this enclave takes %v", header.Context, o.cfg.Context)}
	}
	dataKey, err := o.dataKey(ctx, r.Credentials, weak, ask)
	if err != nil {
		return "", nil, &provision.Error{Code: codeOf(err), Text: err.Error()}
	}
	defer clear(dataKey)
	if len(dataKey) != sealed.KeySize {
		return "", nil, &provision.Error{Code: provision.CodeAnswer, Text: fmt.Sprintf("the data key has %d bytes; allowed are %d", len(dataKey), sealed.KeySize)}
	}
	header, file, err := sealed.Open(dataKey, r.Weights)
	if err != nil {
		return "", nil, &provision.Error{Code: provision.CodeWeights, Text: err.Error()}
	}
	defer clear(file)
	m, err := model.Load(file)
	if err != nil {
		return "", nil, &provision.Error{Code: provision.CodeWeights, Text: err.Error()}
	}
	return header.Name, m, nil
}

// weakened is what a request may switch off.
func (o *opener) weakened(p weaken.Protection) (weaken.Set, error) {
	switch {
	case p == weaken.None:
		return weaken.Set{}, nil
	case o.cfg.Weaken == nil:
		return weaken.Set{}, errors.New("the request names a protection to switch off; this image has none that can be")
	}
	return o.cfg.Weaken(p)
}

// dataKey asks the key service.
func (o *opener) dataKey(ctx context.Context, c provision.Credentials, weak weaken.Set, ask kmsclient.Decrypt) ([]byte, error) {
	client, err := o.client(c, weak)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Decrypt(ctx, ask)
}

// client asks as whoever has c.
func (o *opener) client(c provision.Credentials, weak weaken.Set) (*kmsclient.Client, error) {
	return kmsclient.New(kmsclient.Config{
		Region:      o.cfg.Region,
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		Roots:       o.cfg.Roots,
		Attest: func(_ context.Context, publicKey []byte) ([]byte, error) {
			return o.cfg.Attest(wire.Attestation{PublicKey: publicKey})
		},
		Dial:           o.cfg.DialKMS,
		Key:            o.key,
		AttemptTimeout: o.cfg.AttemptTimeout,
		Timeout:        o.cfg.Timeout,
		Weaken:         weak,
	})
}

// incorrectKey is the key service's code for a ciphertext of another key than the
// one that was asked for (KMS API Reference, Decrypt).
const incorrectKey = "IncorrectKeyException"

// codes are the reasons of package kmsclient in the words of package provision.
var codes = []struct {
	err  error
	code provision.Code
}{
	{kmsclient.ErrDenied, provision.CodeDenied},
	{kmsclient.ErrCredentials, provision.CodeCredentials},
	{kmsclient.ErrRefused, provision.CodeRefused},
	{kmsclient.ErrThrottled, provision.CodeThrottled},
	{kmsclient.ErrCertificate, provision.CodeCertificate},
	{kmsclient.ErrTimeout, provision.CodeTimeout},
	{kmsclient.ErrUnavailable, provision.CodeUnavailable},
	{kmsclient.ErrPlaintext, provision.CodePlaintext},
	{kmsclient.ErrNotSealed, provision.CodeAnswer},
	{kmsclient.ErrAnswer, provision.CodeAnswer},
	{kmsclient.ErrKey, provision.CodeKey},
	{context.DeadlineExceeded, provision.CodeTimeout},
}

func codeOf(err error) provision.Code {
	var answered *kmsclient.Error
	if errors.As(err, &answered) && answered.Code == incorrectKey {
		return provision.CodeKey
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return provision.CodeInternal
}
