package imds

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
)

// sdk is the unmodified client of AWS's SDK, which must not fall back to version 1.
func sdk(t *testing.T, change ...func(*Config)) *imds.Client {
	t.Helper()
	addr, _ := served(t, change...)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return imds.New(imds.Options{
		Endpoint: "http://" + addr, ClientEnableState: imds.ClientEnabled, EnableFallback: aws.FalseTernary,
		HTTPClient: &http.Client{Transport: transport}, Retryer: aws.NopRetryer{},
	})
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestSDK(t *testing.T) {
	client := sdk(t, func(c *Config) { c.UserData = []byte("hello") })
	doc, err := client.GetInstanceIdentityDocument(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := imds.InstanceIdentityDocument{
		AvailabilityZone: "us-east-1a", PrivateIP: "172.31.0.10", Version: "2017-09-30", Region: "us-east-1", InstanceID: "i-0123456789abcdef0",
		InstanceType: "m5.xlarge", AccountID: "123456789012", PendingTime: launched.Truncate(time.Second), ImageID: "ami-0fedcba9876543210", Architecture: "x86_64",
	}
	if diff := cmp.Diff(want, doc.InstanceIdentityDocument); diff != "" {
		t.Errorf("identity document (-want +got):\n%s", diff)
	}
	region, err := client.GetRegion(within(t), nil)
	if err != nil || region.Region != "us-east-1" {
		t.Errorf("region %+v, %v", region, err)
	}
	item, err := client.GetMetadata(within(t), &imds.GetMetadataInput{Path: "placement/availability-zone"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(item.Content); string(b) != "us-east-1a" {
		t.Errorf("zone %q, %v", b, err)
	}
	data, err := client.GetUserData(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(data.Content); string(b) != "hello" {
		t.Errorf("user data %q, %v", b, err)
	}
	info, err := client.GetIAMInfo(within(t), nil)
	if err != nil || info.InstanceProfileArn != "arn:aws:iam::123456789012:instance-profile/parent" || info.Code != "Success" {
		t.Errorf("IAM info %+v, %v", info, err)
	}
	_, err = client.GetMetadata(within(t), &imds.GetMetadataInput{Path: "no"})
	var status *smithyhttp.ResponseError
	if !errors.As(err, &status) || status.HTTPStatusCode() != 404 {
		t.Errorf("unknown item: %v", err)
	}
}

func TestSDKCredentials(t *testing.T) {
	// Later than the provider's own clock, which cannot be set.
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	given := credentials
	given.Expiration = later
	client := sdk(t, func(c *Config) {
		c.Credentials = func(context.Context) (Credentials, error) { return given, nil }
	})
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })
	got, err := provider.Retrieve(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != given.AccessKeyID || got.SecretAccessKey != given.SecretAccessKey || got.SessionToken != given.Token || !got.CanExpire || !got.Expires.Equal(later) {
		t.Errorf("credentials with key %s that expire %v", got.AccessKeyID, got.Expires)
	}
}

// Credentials that are not to be had are an error, and one that says why.
func TestSDKNoCredentials(t *testing.T) {
	client := sdk(t, func(c *Config) {
		c.Credentials = func(context.Context) (Credentials, error) { return Credentials{}, errors.New("no such role") }
	})
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client })
	_, err := provider.Retrieve(within(t))
	var code interface{ ErrorCode() string }
	if !errors.As(err, &code) || code.ErrorCode() != "AssumeRoleUnauthorizedAccess" {
		t.Errorf("error %v", err)
	}
	if _, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) {
		o.Client = sdk(t, func(c *Config) { c.Role, c.Credentials = "", nil })
	}).Retrieve(within(t)); err == nil {
		t.Error("an instance without a role has credentials")
	}
}
