package imds

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"
)

// Limits of the life of a token in seconds (Amazon EC2 User Guide, "How Instance
// Metadata Service Version 2 works").
const (
	MinTokenTTL = 1
	MaxTokenTTL = 21600
)

// A token is 40 bytes in URL-safe base64, as AWS's are:
//
//	offset  size  what
//	     0     4  01 00 00 00
//	     4     8  end of its life, milliseconds since the Unix epoch
//	    12     8  number of the token
//	    20    20  beginning of an HMAC-SHA-256 over the bytes before
//
// So a token needs no memory, and a guest cannot use up any; and it is of use only
// where it was made, because each service has its own key.
const (
	tokenSize   = 40
	tokenSigned = 20
)

var (
	tokenMagic    = [4]byte{1}
	tokenEncoding = base64.URLEncoding.Strict()
	tokenLength   = tokenEncoding.EncodedLen(tokenSize)
)

// tokens makes and checks tokens.
type tokens struct {
	key   []byte
	clock func() time.Time
	count *atomic.Uint64
}

func newTokens(entropy io.Reader, clock func() time.Time) (tokens, error) {
	key := make([]byte, sha256.Size)
	if _, err := io.ReadFull(entropy, key); err != nil {
		return tokens{}, fmt.Errorf("draw key of tokens: %w", err)
	}
	return tokens{key, clock, new(atomic.Uint64)}, nil
}

// issue makes a token with ttl to live.
func (t tokens) issue(ttl time.Duration) string {
	b := make([]byte, tokenSigned, tokenSize)
	copy(b, tokenMagic[:])
	binary.BigEndian.PutUint64(b[4:], uint64(t.clock().Add(ttl).UnixMilli()))
	binary.BigEndian.PutUint64(b[12:], t.count.Add(1))
	return tokenEncoding.EncodeToString(append(b, t.mac(b)...))
}

// left is the life that a token has left, and zero for one that has ended or is
// none of ours.
func (t tokens) left(token string) time.Duration {
	if len(token) != tokenLength {
		return 0
	}
	b, err := tokenEncoding.DecodeString(token)
	if err != nil || len(b) != tokenSize || !hmac.Equal(b[tokenSigned:], t.mac(b[:tokenSigned])) {
		return 0
	}
	end := time.UnixMilli(int64(binary.BigEndian.Uint64(b[4:])))
	return max(end.Sub(t.clock()), 0)
}

// mac is what makes a token one of ours.
func (t tokens) mac(b []byte) []byte {
	h := hmac.New(sha256.New, t.key)
	h.Write(b)
	return h.Sum(nil)[:tokenSize-tokenSigned]
}

// parseTTL reads the life that a client asks for.
func parseTTL(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n < MinTokenTTL || n > MaxTokenTTL {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}
