package kms

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestProtocol has what is refused before the operation is looked at.
func TestProtocol(t *testing.T) {
	e := newEnv(t)
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		status int
		code   string
	}{
		{"good", func(*http.Request) {}, 200, ""},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, 405, codeUnknownOperation},
		{"another path", func(r *http.Request) { r.URL.Path = "/kms" }, 404, codeUnknownOperation},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a=b" }, 404, codeUnknownOperation},
		{"another content type", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 400, codeUnknownOperation},
		{"content type with a parameter", func(r *http.Request) { r.Header.Set("Content-Type", contentType+"; charset=utf-8") }, 400, "InvalidSignatureException"},
		{"no content type", func(r *http.Request) { r.Header.Del("Content-Type") }, 400, codeUnknownOperation},
		{"no target", func(r *http.Request) { r.Header.Del("X-Amz-Target") }, 400, codeUnknownOperation},
		{"another service", func(r *http.Request) { r.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListKeys") }, 400, codeUnknownOperation},
		{"unknown operation", func(r *http.Request) { r.Header.Set("X-Amz-Target", targetPrefix+"Nothing") }, 400, codeUnknownOperation},
		{"unsigned", func(r *http.Request) { r.Header.Del("Authorization") }, 400, "MissingAuthenticationTokenException"},
		{"another operation than was signed", func(r *http.Request) { r.Header.Set("X-Amz-Target", targetPrefix+"ListAliases") }, 400, "InvalidSignatureException"},
		{"another body than was signed", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{} ")) }, 400, "InvalidSignatureException"},
		{"half an authorization", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }, 400, "IncompleteSignatureException"},
		{"too long by its own word", func(r *http.Request) { r.ContentLength = MaxBody + 1 }, 413, codeTooLarge},
		{"too long without a word", func(r *http.Request) {
			r.ContentLength, r.Body = -1, io.NopCloser(bytes.NewReader(make([]byte, MaxBody+1)))
		}, 413, codeTooLarge},
		{"body that fails", func(r *http.Request) { r.Body = io.NopCloser(failingReader{}) }, 400, codeSerialization},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := e.request(t, e.root, "ListKeys", []byte("{}"))
			tt.change(r)
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if w.Code != tt.status || tt.code != "" && !strings.Contains(w.Body.String(), `"__type":"`+tt.code+`"`) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.status, tt.code)
			}
			if len(w.Header().Get("x-amzn-RequestId")) != 36 || w.Header().Get("Content-Type") != contentType {
				t.Errorf("headers: %v", w.Header())
			}
			if tt.code != "" && w.Header().Get("X-Amzn-ErrorType") != tt.code {
				t.Errorf("X-Amzn-ErrorType: %q", w.Header().Get("X-Amzn-ErrorType"))
			}
		})
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("reset") }

// TestErrors has the code that a client sees for each mistake.
func TestErrors(t *testing.T) {
	e := newEnv(t)
	id := e.key(t, nil)
	rsaKey := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify})
	must[*kms.CreateAliasOutput](t)(e.client(e.root).CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: &id}))
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct {
		name, op string
		in       any
		code     string
		message  string
	}{
		{"no JSON", "ListKeys", `{`, codeSerialization, "request: an object is expected"},
		{"wrong type", "ListKeys", `{"Limit":"1"}`, codeSerialization, "Limit: a whole number"},
		{"no KeyId", "DescribeKey", `{}`, codeValidation, "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"empty KeyId", "DescribeKey", `{"KeyId":""}`, codeValidation, "1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"long KeyId", "DescribeKey", map[string]any{"KeyId": long}, codeValidation, "Member must have length less than or equal to 2048"},
		{"two mistakes", "Encrypt", `{"EncryptionAlgorithm":"ROT13"}`, codeValidation, "3 validation errors detected: Value null at 'keyId'"},
		{"enumeration", "Encrypt", map[string]any{"KeyId": id, "Plaintext": "eA==", "EncryptionAlgorithm": "ROT13"}, codeValidation, "Value 'ROT13' at 'encryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [SYMMETRIC_DEFAULT, "},
		{"no plaintext", "Encrypt", map[string]any{"KeyId": id, "Plaintext": ""}, codeValidation, "Value of 0 bytes at 'plaintext'"},
		{"4097 bytes", "Encrypt", map[string]any{"KeyId": id, "Plaintext": make([]byte, 4097)}, codeValidation, "Member must have length less than or equal to 4096"},
		{"6145 bytes", "Decrypt", map[string]any{"CiphertextBlob": make([]byte, 6145)}, codeValidation, "Member must have length less than or equal to 6144"},
		{"context of 9000 bytes", "Encrypt", map[string]any{"KeyId": id, "Plaintext": "eA==", "EncryptionContext": map[string]string{"a": strings.Repeat("x", 9000)}}, codeValidation, "'encryptionContext'"},
		{"grant token", "Encrypt", map[string]any{"KeyId": id, "Plaintext": "eA==", "GrantTokens": []string{"x"}}, "InvalidGrantTokenException", ""},
		{"Limit", "ListKeys", `{"Limit":1001}`, codeValidation, "Value '1001' at 'limit'"},
		{"Marker", "ListKeys", `{"Marker":"!"}`, codeInvalidMarker, ""},
		{"Marker of tags", "ListResourceTags", map[string]any{"KeyId": id, "Marker": "!"}, codeInvalidMarker, ""},
		{"no such key", "DescribeKey", map[string]any{"KeyId": noKeyID}, codeNotFound, "Key 'arn:aws:kms:us-east-1:111122223333:key/" + noKeyID + "' does not exist"},
		{"no key id", "DescribeKey", `{"KeyId":"x"}`, codeNotFound, "Invalid keyId 'x'"},
		{"no such alias", "DescribeKey", `{"KeyId":"alias/b"}`, codeNotFound, "Alias arn:aws:kms:us-east-1:111122223333:alias/b is not found."},
		{"no ARN", "DescribeKey", `{"KeyId":"arn:aws:s3:::bucket"}`, "InvalidArnException", ""},
		{"bad ciphertext", "Decrypt", `{"CiphertextBlob":"AAAA"}`, "InvalidCiphertextException", ""},
		{"wrong usage", "Encrypt", map[string]any{"KeyId": rsaKey, "Plaintext": "eA=="}, codeInvalidKeyUsage, ""},
		{"data key under RSA", "GenerateDataKey", map[string]any{"KeyId": rsaKey, "KeySpec": "AES_256"}, codeInvalidKeyUsage, ""},
		{"neither size nor spec", "GenerateDataKey", map[string]any{"KeyId": id}, codeValidation, "Please specify either number of bytes or key spec."},
		{"size and spec", "GenerateDataKey", map[string]any{"KeyId": id, "KeySpec": "AES_256", "NumberOfBytes": 1}, codeValidation, "Please specify either number of bytes or key spec."},
		{"1025 bytes", "GenerateRandom", `{"NumberOfBytes":1025}`, codeValidation, "Member must have value less than or equal to 1024"},
		{"no size", "GenerateRandom", `{}`, codeValidation, "Value null at 'numberOfBytes'"},
		{"recipient without a document", "GenerateRandom", `{"NumberOfBytes":1,"Recipient":{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256"}}`, codeValidation, "'recipient.attestationDocument'"},
		{"recipient without an algorithm", "GenerateRandom", `{"NumberOfBytes":1,"Recipient":{"AttestationDocument":"AAAA"}}`, codeValidation, "Value null at 'recipient.keyEncryptionAlgorithm'"},
		{"recipient with another algorithm", "GenerateRandom", `{"NumberOfBytes":1,"Recipient":{"AttestationDocument":"AAAA","KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_1"}}`, codeValidation, "enum value set: [RSAES_OAEP_SHA_256]"},
		{"alias that is there", "CreateAlias", map[string]any{"AliasName": "alias/a", "TargetKeyId": id}, "AlreadyExistsException", ""},
		{"alias name", "CreateAlias", map[string]any{"AliasName": "alias/aws/a", "TargetKeyId": id}, "InvalidAliasNameException", ""},
		{"alias of an alias", "CreateAlias", map[string]any{"AliasName": "alias/b", "TargetKeyId": "alias/a"}, codeValidation, "Aliases must refer to keys"},
		{"alias to update", "UpdateAlias", map[string]any{"AliasName": "alias/b", "TargetKeyId": id}, codeNotFound, ""},
		{"waiting period", "ScheduleKeyDeletion", map[string]any{"KeyId": id, "PendingWindowInDays": 6}, codeValidation, "Member must have value greater than or equal to 7"},
		{"deletion to cancel", "CancelKeyDeletion", map[string]any{"KeyId": id}, "KMSInvalidStateException", ""},
		{"two tags of one name", "TagResource", map[string]any{"KeyId": id, "Tags": []map[string]string{{"TagKey": "a", "TagValue": "b"}, {"TagKey": "a", "TagValue": "c"}}}, codeValidation, "be unique"},
		{"reserved tag", "TagResource", map[string]any{"KeyId": id, "Tags": []map[string]string{{"TagKey": "aws:a", "TagValue": "b"}}}, "TagException", ""},
		{"tag without a value", "TagResource", map[string]any{"KeyId": id, "Tags": []map[string]string{{"TagKey": "a"}}}, codeValidation, "Value null at 'tags.1.member.tagValue'"},
		{"rotation of RSA", "EnableKeyRotation", map[string]any{"KeyId": rsaKey}, codeUnsupported, ""},
		{"rotations of RSA", "GetKeyRotationStatus", map[string]any{"KeyId": rsaKey}, codeUnsupported, ""},
		{"policy of another name", "GetKeyPolicy", map[string]any{"KeyId": id, "PolicyName": "other"}, codeNotFound, "No such policy exists"},
		{"both specs", "CreateKey", `{"KeySpec":"RSA_2048","CustomerMasterKeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY"}`, codeValidation, "You cannot specify KeySpec and CustomerMasterKeySpec"},
		{"spec without usage", "CreateKey", `{"KeySpec":"RSA_2048"}`, codeValidation, "KeyUsage is missing"},
		{"spec that is not emulated", "CreateKey", `{"KeySpec":"ML_DSA_44","KeyUsage":"SIGN_VERIFY"}`, codeUnsupported, ""},
		{"multi-Region", "CreateKey", `{"MultiRegion":true}`, codeUnsupported, "nitrolab does not emulate multi-Region keys"},
		{"imported", "CreateKey", `{"Origin":"EXTERNAL"}`, codeUnsupported, "nitrolab does not emulate keys with origin EXTERNAL"},
		{"grants", "CreateGrant", map[string]any{"KeyId": id}, codeUnsupported, "nitrolab does not emulate grants"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer, w := e.post(t, e.root, tt.op, tt.in)
			message, _ := answer["message"].(string)
			if status != 400 || answer["__type"] != tt.code || !strings.Contains(message, tt.message) {
				t.Errorf("got %d %s\nwant %s %q", status, w.Body, tt.code, tt.message)
			}
			if tt.message == "" && message == "" && strings.Contains(w.Body.String(), "essage") {
				t.Errorf("an empty message is there: %s", w.Body)
			}
		})
	}
	// The SDK turns them into its types.
	_, err := e.client(e.root).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/b")})
	var missing *types.NotFoundException
	if !errors.As(err, &missing) || !strings.HasPrefix(missing.ErrorMessage(), "Alias arn") {
		t.Errorf("the SDK has %v", err)
	}
}

// TestExpiredSession: whose session has ended is told so.
func TestExpiredSession(t *testing.T) {
	e := newEnv(t)
	creds, _ := e.role(t, "app")
	e.clock.Advance(2 * time.Hour)
	_, answer, _ := e.post(t, creds, "ListKeys", "{}")
	if answer["__type"] != "ExpiredTokenException" {
		t.Errorf("got %v", answer)
	}
	e.clock.Advance(-2 * time.Hour)
	creds.SessionToken = ""
	if _, answer, _ = e.post(t, creds, "ListKeys", "{}"); answer["__type"] != "UnrecognizedClientException" {
		t.Errorf("without its token: %v", answer)
	}
}

// TestSlowRequest: a client that stops in the middle of its request has half a
// minute, by the machine's clock, and then an answer.
func TestSlowRequest(t *testing.T) {
	for _, tt := range []struct {
		target string
		status int
	}{
		{targetPrefix + "Decrypt", http.StatusRequestTimeout},
		{"nothing", http.StatusBadRequest}, // and its body is not looked at
	} {
		t.Run(tt.target, func(t *testing.T) { testSlowRequest(t, tt.target, tt.status) })
	}
}

// TestSlowAnswer: the time for a request is not that for its answer.
func TestSlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serviceOnly(t)
		e.Inject(Fault{Kind: FaultDelay, Delay: 2 * bodyTimeout})
		began := time.Now()
		answer := exchange(t, e, "POST / HTTP/1.1\r\nHost: kms\r\nContent-Type: "+contentType+"\r\nX-Amz-Target: "+targetPrefix+"Decrypt\r\nContent-Length: 2\r\n\r\n{}")
		if took := time.Since(began); answer.StatusCode != http.StatusBadRequest || took != 2*bodyTimeout {
			t.Errorf("status %d after %v", answer.StatusCode, took)
		}
	})
}

func testSlowRequest(t *testing.T, target string, status int) {
	synctest.Test(t, func(t *testing.T) {
		e := serviceOnly(t)
		began := time.Now()
		answer := exchange(t, e, "POST / HTTP/1.1\r\nHost: kms\r\nContent-Type: "+contentType+"\r\nX-Amz-Target: "+target+"\r\nContent-Length: 100\r\n\r\n{")
		if took := time.Since(began); answer.StatusCode != status || took != bodyTimeout {
			t.Errorf("status %d after %v", answer.StatusCode, took)
		}
	})
}

// exchange writes text to a server of s, gives the answer and ends both.
func exchange(t *testing.T, s *Service, text string) *http.Response {
	t.Helper()
	client, server := net.Pipe()
	srv := &http.Server{Handler: s}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(&oneConn{conn: server, done: make(chan struct{})}) }()
	go func() { _, _ = io.WriteString(client, text) }()
	answer, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	_ = srv.Close()
	<-served
	_ = s.Close()
	return answer
}

// serviceOnly is a Service without a server and without requests that would succeed.
func serviceOnly(t *testing.T) *Service {
	t.Helper()
	e := newParts(t)
	return must[*Service](t)(New(e))
}

// A oneConn is a listener of one connection.
type oneConn struct {
	conn net.Conn
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { close(l.done); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "test"} }

// TestClose: a request that waits ends, Close waits for it, and who comes later is
// told.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := serviceOnly(t)
		e.Inject(Fault{Kind: FaultDelay, Delay: time.Hour})
		ended := make(chan any, 1)
		go func() {
			defer func() { ended <- recover() }()
			e.ServeHTTP(httptest.NewRecorder(), bareRequest(context.Background()))
		}()
		synctest.Wait()
		began := time.Now()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if got := <-ended; got != http.ErrAbortHandler || time.Since(began) != 0 {
			t.Errorf("the waiting request ended with %v after %v", got, time.Since(began))
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, bareRequest(context.Background()))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), codeUnavailable) {
			t.Errorf("after Close: %d %s", w.Code, w.Body)
		}
	})
}

// TestCloseWaits: Close does not return while a request is under way.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newParts(t)
		answer := make(chan struct{})
		cfg.Audit = func(Event) { <-answer }
		s := must[*Service](t)(New(cfg))
		go s.ServeHTTP(httptest.NewRecorder(), bareRequest(context.Background()))
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned before the request was answered")
		default:
		}
		close(answer)
		synctest.Wait()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func bareRequest(ctx context.Context) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader("{}"))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", targetPrefix+"ListKeys")
	return r
}

func TestNew(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":      {func(*Config) {}, ""},
		"region":    {func(c *Config) { c.Region = "Frankfurt" }, `region "Frankfurt": a name such as us-east-1 is expected`},
		"account":   {func(c *Config) { c.Account = "1" }, `account "1": twelve digits are expected`},
		"directory": {func(c *Config) { c.Directory = nil }, "no Directory"},
		"ring":      {func(c *Config) { c.Ring = nil }, "no Ring"},
		"roots":     {func(c *Config) { c.Roots = nil }, "no attestation root"},
		"debug":     {func(c *Config) { c.Debug = 3 }, "unknown DebugDocuments(3)"},
		"error":     {func(c *Config) { c.DocumentError = "<>" }, `document error "<>": an error code such as ValidationException is expected`},
	} {
		cfg := newParts(t)
		tt.change(&cfg)
		_, err := New(cfg)
		if got := fmt.Sprint(err); (err == nil) != (tt.want == "") || tt.want != "" && got != "new key service: "+tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEntropyEnds: without entropy there is an internal error, no answer and no
// panic.
func TestEntropyEnds(t *testing.T) {
	cfg := newParts(t)
	cfg.Entropy = strings.NewReader("too short")
	s := must[*Service](t)(New(cfg))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, bareRequest(ctx))
	if w.Code != 500 || !strings.Contains(w.Body.String(), codeInternal) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
