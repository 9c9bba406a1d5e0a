package kms

import (
	"context"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDecode(t *testing.T) {
	good := kms.DecryptInput{
		KeyId: aws.String("a"), CiphertextBlob: []byte{1, 2}, DryRun: aws.Bool(true), EncryptionContext: map[string]string{"n": "v", "m": ""},
		GrantTokens: []string{"g"}, EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
		Recipient: &types.RecipientInfo{AttestationDocument: []byte{3}, KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
	}
	for _, tt := range []struct {
		name, body string
		want       kms.DecryptInput
		error      string
	}{
		{"everything", `{"KeyId":"a","CiphertextBlob":"AQI=","DryRun":true,"EncryptionContext":{"n":"v","m":""},"GrantTokens":["g"],"EncryptionAlgorithm":"SYMMETRIC_DEFAULT","Recipient":{"AttestationDocument":"Aw==","KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256"}}`, good, ""},
		{"nothing", ` {} `, kms.DecryptInput{}, ""},
		{"null and unknown members", `{"KeyId":null,"Recipient":null,"EncryptionContext":null,"Nothing":[1,{}]}`, kms.DecryptInput{}, ""},
		{"other case", `{"keyid":"a","keyId":"b"}`, kms.DecryptInput{}, ""},
		{"unexported and added by the SDK", `{"noSmithyDocumentSerde":{},"ResultMetadata":{}}`, kms.DecryptInput{}, ""},
		{"last of two", `{"KeyId":"a","KeyId":"b"}`, kms.DecryptInput{KeyId: aws.String("b")}, ""},
		{"empty blob", `{"CiphertextBlob":""}`, kms.DecryptInput{CiphertextBlob: []byte{}}, ""},
		{"empty body", ``, kms.DecryptInput{}, "request: an object is expected, found something that is no JSON"},
		{"list", ` []`, kms.DecryptInput{}, "request: an object is expected, found a list"},
		{"null", `null`, kms.DecryptInput{}, "request: an object is expected, found null"},
		{"two values", `{}{}`, kms.DecryptInput{}, "request: an object is expected, found something that is no JSON"},
		{"number for a string", `{"KeyId":1}`, kms.DecryptInput{}, "KeyId: a string is expected, found a number"},
		{"string for a truth value", `{"DryRun":"true"}`, kms.DecryptInput{}, "DryRun: true or false is expected, found a string"},
		{"number for a blob", `{"CiphertextBlob":1}`, kms.DecryptInput{}, "CiphertextBlob: a string of base64 is expected, found a number"},
		{"no base64", `{"CiphertextBlob":"AQI"}`, kms.DecryptInput{}, "CiphertextBlob: base64 with padding is expected"},
		{"base64 for URLs", `{"CiphertextBlob":"_-8="}`, kms.DecryptInput{}, "CiphertextBlob: base64 with padding is expected"},
		{"list for a map", `{"EncryptionContext":["n"]}`, kms.DecryptInput{}, "EncryptionContext: an object is expected, found a list"},
		{"null in a map", `{"EncryptionContext":{"n":null}}`, kms.DecryptInput{}, "EncryptionContext: null is not allowed within"},
		{"number in a map", `{"EncryptionContext":{"n":1}}`, kms.DecryptInput{}, "EncryptionContext: a string is expected, found a number"},
		{"null in a list", `{"GrantTokens":[null]}`, kms.DecryptInput{}, "GrantTokens: null is not allowed within"},
		{"object for a list", `{"GrantTokens":{}}`, kms.DecryptInput{}, "GrantTokens: a list is expected, found an object"},
		{"string for a structure", `{"Recipient":"x"}`, kms.DecryptInput{}, "Recipient: an object is expected, found a string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got kms.DecryptInput
			err := decode([]byte(tt.body), &got)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if message != tt.error {
				t.Errorf("got %q, want %q", message, tt.error)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(kms.DecryptInput{}, types.RecipientInfo{})); err == nil && diff != "" {
				t.Errorf("input (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeNumbers(t *testing.T) {
	for text, want := range map[string]*int32{
		"5": aws.Int32(5), "-1": aws.Int32(-1), "2147483647": aws.Int32(math.MaxInt32),
		"2147483648": nil, "1.5": nil, `"5"`: nil, "true": nil, "1e99": nil,
	} {
		var in kms.GenerateRandomInput
		err := decode([]byte(`{"NumberOfBytes":`+text+`}`), &in)
		if (err == nil) != (want != nil) || want != nil && *in.NumberOfBytes != *want {
			t.Errorf("%s: %v, %v", text, in.NumberOfBytes, err)
		}
	}
}

// TestEncode holds the bytes against those of the SDK's own serializer, for an output
// in which everything is set.
func TestEncode(t *testing.T) {
	created := time.UnixMilli(1_763_891_501_250).UTC()
	out := &kms.DescribeKeyOutput{KeyMetadata: &types.KeyMetadata{
		KeyId: aws.String("i<d>&\u2028"), Description: aws.String(""), Enabled: true, MultiRegion: aws.Bool(false), CreationDate: &created,
		KeySpec: types.KeySpecRsa2048, SigningAlgorithms: []types.SigningAlgorithmSpec{"A", "B"}, PendingDeletionWindowInDays: aws.Int32(7),
	}}
	var ours, theirs any
	if err := json.Unmarshal(encode(out), &ours); err != nil {
		t.Fatal(err)
	}
	request := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	schema := smithy.NewOperationSchema(schemas.DescribeKey, schemas.DescribeKeyResponse, nil)
	if err := awsjson.New11(schemas.TrentService).SerializeRequest(context.Background(), schema, out, request); err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(request.GetStream()).Decode(&theirs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("output (-theirs +ours):\n%s", diff)
	}
	// What the SDK leaves out and the service sends.
	if got := string(encode(&kms.ListKeysOutput{Keys: []types.KeyListEntry{}})); got != `{"Keys":[],"Truncated":false}` {
		t.Errorf("an empty list is %s", got)
	}
	if got := string(encode(&kms.DecryptOutput{Plaintext: []byte{}})); got != `{"Plaintext":""}` {
		t.Errorf("an empty plaintext is %s", got)
	}
	if got := string(encode(&kms.DecryptOutput{CiphertextForRecipient: []byte{1}})); got != `{"CiphertextForRecipient":"AQ=="}` {
		t.Errorf("an attested answer is %s", got)
	}
}

// TestOperations: whoever uses a newer SDK gets an answer that says what is not
// there, not that the operation is unknown. If this fails after an update of the
// SDK, add the operation to the table in operations.go.
func TestOperations(t *testing.T) {
	client := reflect.TypeFor[*kms.Client]()
	found := 0
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() < 3 || !strings.HasSuffix(m.Type.In(2).String(), "."+m.Name+"Input") {
			continue
		}
		found++
		if _, ok := operations[m.Name]; !ok {
			t.Errorf("operation %s is not in the table", m.Name)
		}
	}
	if found != len(operations) {
		t.Errorf("the SDK has %d operations, the table %d", found, len(operations))
	}
}

// TestEveryInput decodes something into every member of every input and encodes every
// output with all members set: no type of the SDK is one the codec does not know.
func TestEveryInput(t *testing.T) {
	e := newEnv(t)
	for op := range operations {
		status, answer, w := e.post(t, e.root, op, "{}")
		_, isType := answer["__type"].(string)
		if status == 500 || status != 200 && !isType {
			t.Errorf("%s of nothing: %d %s", op, status, w.Body)
		}
	}
	for _, out := range []any{
		&kms.CancelKeyDeletionOutput{}, &kms.CreateKeyOutput{}, &kms.DecryptOutput{}, &kms.DeriveSharedSecretOutput{}, &kms.EncryptOutput{},
		&kms.GenerateDataKeyOutput{}, &kms.GenerateDataKeyPairOutput{}, &kms.GetKeyRotationStatusOutput{}, &kms.GetPublicKeyOutput{},
		&kms.ListAliasesOutput{}, &kms.ListGrantsOutput{}, &kms.ListKeyRotationsOutput{}, &kms.ListResourceTagsOutput{}, &kms.ReEncryptOutput{},
		&kms.ScheduleKeyDeletionOutput{}, &kms.SignOutput{}, &kms.VerifyOutput{}, &kms.VerifyMacOutput{},
	} {
		fill(reflect.ValueOf(out).Elem())
		if !json.Valid(encode(out)) {
			t.Errorf("%T: %s", out, encode(out))
		}
	}
}

// fill sets everything in v.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "ResultMetadata" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i))
		}
	case reflect.String:
		v.SetString("x")
	}
}
