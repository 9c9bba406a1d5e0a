//go:build embedguest

package guestprog

import "embed"

// embedded holds bin/<name>, which `go generate ./images/guestprog` fills.
//
//go:embed bin
var embedded embed.FS
