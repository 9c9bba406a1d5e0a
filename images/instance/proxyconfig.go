package instance

import (
	"fmt"
	"slices"
	"strings"
)

// kmsRegions are the regions whose key service vsock-proxy may connect to as it
// comes, those of the file that AWS ships with it and of later regions. Others are
// a line in the file.
var kmsRegions = []string{
	"af-south-1",
	"ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-central-1", "ca-west-1", "cn-north-1", "cn-northwest-1",
	"eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
	"il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1",
	"us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2",
}

// proxyConfig is /etc/nitro_enclaves/vsock-proxy.yaml, the hosts to which
// vsock-proxy connects for enclaves (aws-nitro-enclaves-cli, vsock_proxy/README.md).
// The program does not start without it.
func proxyConfig() string {
	var b strings.Builder
	b.WriteString("allowlist:\n")
	for _, region := range slices.Sorted(slices.Values(kmsRegions)) {
		domain := "amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			domain += ".cn"
		}
		for _, service := range []string{"kms", "kms-fips"} {
			fmt.Fprintf(&b, "- {address: %s.%s.%s, port: 443}\n", service, region, domain)
		}
	}
	return b.String()
}
