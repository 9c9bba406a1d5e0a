// Package run drives a verifier of attestation documents, in whatever language,
// over a corpus of emulator/vectors and says where it went wrong.
//
// The verifier is a command. Under [PerCase] it is started once per case: the
// document is on its standard input, what it is told is in its environment and
// arguments, and its exit status is the verdict. Under [JSONL] it is started once
// per job and answers one line after another, see package protocol.
//
// # The verifier as a process per case
//
// Environment variables, absent where the case has no such expectation; present
// and empty means an empty byte string:
//
//	NITROLAB_TIME        time of verification, RFC 3339, UTC, maybe with a fraction
//	NITROLAB_ROOTS       PEM file with every root to trust; an empty file if there is none
//	NITROLAB_PCRS        expected registers, "0=<hex>,1=<hex>"; empty if there is no policy
//	NITROLAB_NONCE       expected nonce, hexadecimal
//	NITROLAB_USER_DATA   expected user_data, likewise
//	NITROLAB_PUBLIC_KEY  expected public_key, likewise
//	NITROLAB_MAX_AGE     greatest age of the document in seconds
//	NITROLAB_ARCHIVE     1: verify at the time that the document itself states
//	NITROLAB_CASE        name of the case, only with Config.ShowID
//
// The same values replace {time}, {roots}, {pcrs}, {nonce}, {user-data},
// {public-key} and {max-age} in arguments; {unix} is the time in whole seconds,
// {pcr0} to {pcr31} are single registers, {document} is a file with the document,
// {case} the name. An argument that holds a placeholder without a value is left
// out, so "--nonce={nonce}" is there only if a nonce is expected.
//
// Exit status 0 accepts, any other rejects. A signal is a crash; so are the
// statuses by which shells pass on a crash (128 and SIGABRT, SIGSEGV and the
// like) or say that there is no such program (126, 127), Rust's for a panic
// (101), and 2 beside a Go program's panic. A verifier that has not ended in time
// hangs. Neither is ever right: whoever feeds it that document has stopped it.
//
// # What becomes of the verifier
//
// It runs under guard: it and all it started are killed at the end of its case
// or, under JSONL, of the run, and also if this process dies. Of its output no
// more than a few KiB are kept.
package run
