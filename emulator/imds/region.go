package imds

import (
	"fmt"
	"strings"
)

// partition is the partition of a region, the second part of ARNs (AWS General
// Reference, "Amazon Resource Names").
func partition(region string) string {
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"},
		{"us-isof-", "aws-iso-f"}, {"eu-isoe-", "aws-iso-e"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

// domain is the domain of the services of a region.
func domain(region string) string {
	switch partition(region) {
	case "aws-cn":
		return "amazonaws.com.cn"
	case "aws-iso":
		return "c2s.ic.gov"
	case "aws-iso-b":
		return "sc2s.sgov.gov"
	case "aws-iso-e":
		return "cloud.adc-e.uk"
	case "aws-iso-f":
		return "csp.hci.ic.gov"
	case "aws-eusc":
		return "amazonaws.eu"
	}
	return "amazonaws.com"
}

// privateDomain is that of the instances of a VPC (Amazon EC2 User Guide, "Amazon
// EC2 instance hostnames and domains").
func privateDomain(region string) string {
	if region == "us-east-1" {
		return "ec2.internal"
	}
	return region + ".compute.internal"
}

// zoneID is an id of the form use1-az4. Which zone of an account has which id
// differs between accounts of AWS; here the letters are counted.
func zoneID(zone, region string) string {
	var b strings.Builder
	parts := strings.Split(region, "-")
	for i, p := range parts {
		switch {
		case i == 0, i == len(parts)-1:
			b.WriteString(p)
		case p == "northeast", p == "southeast", p == "northwest", p == "southwest":
			b.WriteString(p[:1] + p[5:6])
		default:
			b.WriteString(p[:1])
		}
	}
	return fmt.Sprintf("%s-az%d", b.String(), zone[len(zone)-1]-'a'+1)
}
