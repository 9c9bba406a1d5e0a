// Package protocol is how "nitrolab vectors run --jsonl" talks to a verifier of
// attestation documents: JSON objects, one a line, requests on the verifier's
// standard input, replies on its standard output.
//
//	-> {"id":1,"document":"hEShATgi…","time":"2026-11-23T09:51:42Z","roots":["-----BEGIN CERTIFICATE-----\n…"],"pcrs":{"0":"5c1f…"},"nonce":"8c31"}
//	<- {"id":1,"verdict":"reject","reason":"the leaf has expired"}
//
// There is one request at a time: the next one comes when the reply to the last
// one was read. Standard input ends after the last one; the verifier then exits.
// A verifier that crashes or hangs fails that one case and is started anew.
//
// A verifier in Go is a function given to [Serve]. In any other language it is a
// loop over lines, which ignores the members it does not know.
package protocol
