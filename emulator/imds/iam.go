package imds

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// credentialsTimeout bounds the wait for [Config.Credentials]. Clients give up
// after 5 seconds.
const credentialsTimeout = 4 * time.Second

// iam is the folder meta-data/iam of an instance with a role (Amazon EC2 User
// Guide, "Retrieve security credentials from instance metadata").
func (s *Service) iam() folder {
	arn, name := s.cfg.Role, s.cfg.Role[strings.LastIndexByte(s.cfg.Role, '/')+1:]
	account, _, _ := strings.Cut(arn, ":role/")
	profile := account + ":instance-profile/" + name
	began := s.cfg.Clock()
	info := object(
		member{"Code", "Success"},
		member{"LastUpdated", began.UTC().Format(timeFormat)},
		member{"InstanceProfileArn", profile},
		member{"InstanceProfileId", profileID(profile)},
	)
	return folder{nodes: map[string]node{
		"info": constant("text/plain", info, began),
		"security-credentials": folder{nodes: map[string]node{
			name: leaf{"text/plain", s.credentials},
		}},
	}}
}

// profileID is an id of the form that IAM gives (AWS IAM User Guide, "IAM
// identifiers": AIPA), and always the same one for a profile.
func profileID(arn string) string {
	sum := sha256.Sum256([]byte(arn))
	return "AIPA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

// credentials is the item of the role: its credentials, or why there are none.
func (s *Service) credentials(ctx context.Context) ([]byte, time.Time) {
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	c, err := s.cfg.Credentials(ctx)
	now := s.cfg.Clock()
	if err != nil {
		s.cfg.Log.Warn("no credentials for the instance", "instance", s.cfg.InstanceID, "role", s.cfg.Role, "err", err)
		return object(
			member{"Code", "AssumeRoleUnauthorizedAccess"},
			member{"Message", "EC2 cannot assume the role " + s.cfg.Role},
			member{"LastUpdated", now.UTC().Format(timeFormat)},
		), now
	}
	if c.LastUpdated.IsZero() {
		c.LastUpdated = now
	}
	return object(
		member{"Code", "Success"},
		member{"LastUpdated", c.LastUpdated.UTC().Format(timeFormat)},
		member{"Type", "AWS-HMAC"},
		member{"AccessKeyId", c.AccessKeyID},
		member{"SecretAccessKey", c.SecretAccessKey},
		member{"Token", c.Token},
		member{"Expiration", c.Expiration.UTC().Format(timeFormat)},
	), c.LastUpdated
}
