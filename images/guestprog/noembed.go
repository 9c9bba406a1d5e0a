//go:build !embedguest

package guestprog

import "embed"

// embedded is empty: this binary carries no guest programs.
var embedded embed.FS
