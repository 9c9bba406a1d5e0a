// Package iam is a directory of emulated AWS identities: accounts with a root
// user, users with access keys, roles with sessions, and the policies of each.
// It is what a service asks who signed a request and what that identity may do.
//
// Credentials have the forms of AWS's: AKIA and ASIA, 16 characters, a secret of
// 40. They open nothing at AWS.
package iam
