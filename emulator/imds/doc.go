// Package imds is the instance metadata service of one emulated EC2 instance:
// version 2 with its tokens, the items that software on a parent instance asks
// for, credentials of the instance's role, and the signed identity document.
//
// It speaks HTTP as AWS's service does at 169.254.169.254, and does not know how
// requests come to it; for an emulated instance that is vsock (guest/linklocal).
package imds
