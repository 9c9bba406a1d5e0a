package vectors

import (
	"math"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// boundFields are A10 and A17: what the enclave and its peer agreed on.
func boundFields(k *kitchen) {
	nonce, userData, publicKey := goodNonce(k.keyring), goodUserData(k.keyring), goodPublicKey(k.keyring)
	set := func(key string, item []byte) func(*draft) { return func(d *draft) { d.set(key, item) } }
	wants := func(c *Case) { c.Nonce = nonce }
	k.cook("A10", recipe{fails: []string{attestation.CheckNonce}, source: "akash console#3365"}, []recipe{
		{id: "nonce-null", title: "nonce null, one is expected", forge: set(keyNonce, cborNull), tell: wants, wrong: "a missing nonce is no match"},
		{id: "nonce-absent", title: "no nonce, one is expected", forge: drops(keyNonce), tell: wants, wrong: "a missing nonce is no match"},
		{id: "nonce-empty", title: "nonce of no bytes, another is expected", forge: set(keyNonce, bstr(nil)), tell: wants},
		{id: "nonce-different", title: "another nonce: an answer to somebody else", forge: set(keyNonce, bstr(k.bytes("somebody else's nonce", 32))), tell: wants, source: "veraison/services#427"},
		{id: "nonce-replayed", title: "a document made four minutes ago for an earlier nonce", forge: func(d *draft) {
			older(4 * time.Minute)(d)
			d.set(keyNonce, bstr(k.bytes("earlier nonce", 32)))
		}, tell: wants, source: "PySyft#9489"},
		{id: "nonce-prefix", title: "the first 16 bytes of the expected nonce", forge: set(keyNonce, bstr(nonce[:16])), tell: wants},
		{id: "nonce-continued", title: "the expected nonce and one more byte", forge: set(keyNonce, bstr(append(nonce[:32:32], 0))), tell: wants},
		{id: "nonce-last-bit", title: "the expected nonce but for its last bit", forge: func(d *draft) {
			b := goodNonce(k.keyring)
			b[31] ^= 1
			d.set(keyNonce, bstr(b))
		}, tell: wants},
		{id: "nonce-in-hex", title: "the expected nonce in hex digits", forge: set(keyNonce, bstr(hexOf(nonce))), tell: wants},
		{id: "nonce-in-user-data", title: "the expected nonce in user_data, nonce null", forge: func(d *draft) {
			d.set(keyNonce, cborNull)
			d.set(keyUserData, bstr(nonce))
		}, tell: wants},
		{id: "nonce-zeros", title: "a nonce of 32 zero bytes", forge: set(keyNonce, bstr(make([]byte, 32))), tell: wants},
		{id: "empty-nonce-expected", title: "a nonce, and an empty one is expected", tell: func(c *Case) { c.Nonce = Hex{} }, level: Strict},
		{id: "empty-nonce-expected-null-found", title: "nonce null, and an empty one is expected", forge: set(keyNonce, cborNull), tell: func(c *Case) { c.Nonce = Hex{} }, level: Strict, wrong: "null, empty and a value are three things"},
	})
	k.cook("A17", recipe{source: "Cantina review of base/nitro-validator 2026, 3.2.5"}, []recipe{
		{id: "user-data-null", title: "user_data null, a value is expected", forge: set(keyUserData, cborNull), tell: func(c *Case) { c.UserData = userData }, fails: []string{attestation.CheckUserData}},
		{id: "user-data-absent", title: "no user_data, a value is expected", forge: drops(keyUserData), tell: func(c *Case) { c.UserData = userData }, fails: []string{attestation.CheckUserData}},
		{id: "user-data-empty", title: "user_data of no bytes, a value is expected", forge: set(keyUserData, bstr(nil)), tell: func(c *Case) { c.UserData = userData }, fails: []string{attestation.CheckUserData}},
		{id: "user-data-different", title: "another user_data", forge: set(keyUserData, bstr(k.bytes("other user data", 48))), tell: func(c *Case) { c.UserData = userData }, fails: []string{attestation.CheckUserData}},
		{id: "user-data-prefix", title: "the beginning of the expected user_data", forge: set(keyUserData, bstr(userData[:47])), tell: func(c *Case) { c.UserData = userData }, fails: []string{attestation.CheckUserData}},
		{id: "user-data-in-nonce", title: "user_data and nonce swapped", forge: func(d *draft) {
			d.set(keyUserData, bstr(nonce))
			d.set(keyNonce, bstr(userData))
		}, tell: func(c *Case) { c.UserData, c.Nonce = userData, nonce }, fails: []string{attestation.CheckUserData, attestation.CheckNonce}},
		{id: "public-key-null", title: "public_key null, a key is expected", forge: set(keyPublicKey, cborNull), tell: func(c *Case) { c.PublicKey = publicKey }, fails: []string{attestation.CheckPublicKey}},
		{id: "public-key-absent", title: "no public_key, a key is expected", forge: drops(keyPublicKey), tell: func(c *Case) { c.PublicKey = publicKey }, fails: []string{attestation.CheckPublicKey}},
		{id: "public-key-different", title: "another public_key: the parent put itself between", forge: set(keyPublicKey, bstr(subjectKey(k.p384("parent's own")))), tell: func(c *Case) { c.PublicKey = publicKey }, fails: []string{attestation.CheckPublicKey}},
		{id: "public-key-in-user-data", title: "the expected key in user_data, another in public_key", forge: func(d *draft) {
			d.set(keyUserData, bstr(publicKey))
			d.set(keyPublicKey, bstr(subjectKey(k.p384("parent's own"))))
		}, tell: func(c *Case) { c.PublicKey = publicKey }, fails: []string{attestation.CheckPublicKey}},
		{id: "public-key-empty", title: "public_key of no bytes", forge: set(keyPublicKey, bstr(nil)), fails: []string{attestation.CheckFields}, level: Strict, source: specContent, wrong: "the list of checks says 1 to 1024 bytes (the definition says 0 to 1024)"},
		{id: "empty-user-data-expected", title: "user_data null, an empty one is expected", forge: set(keyUserData, cborNull), tell: func(c *Case) { c.UserData = Hex{} }, fails: []string{attestation.CheckUserData}, level: Strict, wrong: "null, empty and a value are three things"},
		{id: "public-key-is-no-key", title: "public_key is text and not a key", forge: set(keyPublicKey, bstr([]byte("not a key"))), verdict: Either, source: specDocument},
	})
}

// moments are A11 to A14: the document's time, the certificates' and now.
func moments(k *kitchen) {
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	now := k.reference.Add(delay)
	at := func(t time.Time) func(*Case) { return func(c *Case) { c.Time = t.UTC() } }
	leafBegins := k.reference.Truncate(time.Second).Add(-3 * time.Second)
	leafEnds := k.reference.Truncate(time.Second).Add(3 * time.Hour)
	stale := []string{attestation.CheckFreshness}
	k.cook("A11", recipe{fails: stale, source: "aptos-core#20103"}, []recipe{
		{id: "ten-minutes-old", title: "ten minutes old, five are allowed", forge: older(minutes(10)), tell: maxAge(300)},
		{id: "two-hours-old", title: "two hours old and its leaf valid, five minutes are allowed", forge: older(minutes(120)), tell: maxAge(300)},
		{id: "a-second-too-old", title: "five minutes and a second old, five minutes are allowed", forge: older(minutes(5)), tell: maxAge(300)},
		{id: "old-with-right-nonce", title: "ten minutes old with the expected nonce, five are allowed", forge: older(minutes(10)), tell: func(c *Case) { maxAge(300)(c); c.Nonce = goodNonce(k.keyring) }},
		{id: "old-and-no-limit", title: "two hours old, no age is demanded", forge: older(minutes(120)), verdict: Accept},
		{id: "just-fresh-enough", title: "two seconds less than five minutes old, five are allowed", forge: older(minutes(5) - 3*time.Second), tell: maxAge(300), verdict: Accept},
	})

	month := 30 * 24 * time.Hour
	archive := func(c *Case) { c.Archive = true }
	expired := []string{attestation.CheckValidity}
	k.cook("A12", recipe{fails: expired, source: "hashi#832"}, []recipe{
		{id: "archived", title: "a document of last month, verified at its own time", forge: older(month), tell: archive, verdict: Accept},
		{id: "archived-definite-map", title: "the same, in a map of nine", forge: func(d *draft) { older(month)(d); d.definite() }, tell: archive, verdict: Accept},
		{id: "archived-verified-now", title: "a document of last month, verified now", forge: older(month)},
		{id: "four-hours-old", title: "a document of four hours ago, verified now", forge: older(4 * time.Hour)},
		{id: "archived-after-leaf", title: "an archived document whose time is after its leaf's end", forge: func(d *draft) {
			older(month)(d)
			d.madeAt(d.made.Add(4 * time.Hour))
		}, tell: archive, fails: []string{attestation.CheckValidity, attestation.CheckTimestamp}},
		{id: "archived-before-leaf", title: "an archived document whose time is before its leaf's beginning", forge: func(d *draft) {
			older(month)(d)
			d.madeAt(d.made.Add(-time.Minute))
		}, tell: archive, fails: []string{attestation.CheckValidity, attestation.CheckTimestamp}},
		{id: "archived-debug", title: "an archived document of a debug enclave, policy names PCR4", forge: func(d *draft) {
			older(month)(d)
			d.setPCRs(debugPCRs(k.keyring))
		}, tell: func(c *Case) { archive(c); c.PCRs = k.expectPCRs(4) }, fails: failsDebug},
		{id: "archived-forged", title: "an archived document of another root", forge: func(d *draft) {
			d.of(k.worldOf("attacker"))
			older(month)(d)
		}, tell: archive, fails: failsChain},
	})

	k.cook("A13", recipe{source: "Maple#936; enclave-signer#207"}, []recipe{
		{id: "two-seconds-before-leaf", title: "the verifier's clock is two seconds before the leaf's beginning", tell: at(leafBegins.Add(-2 * time.Second)), fails: expired},
		{id: "at-leaf-begin", title: "at the second in which the leaf begins", tell: at(leafBegins), verdict: Accept, source: "RFC 5280 section 4.1.2.5: inclusive", level: Strict},
		{id: "at-leaf-end", title: "at the second in which the leaf ends", tell: at(leafEnds), verdict: Accept, source: "RFC 5280 section 4.1.2.5: inclusive", level: Strict},
		{id: "a-second-before-leaf-end", title: "a second before the leaf ends", tell: at(leafEnds.Add(-time.Second)), verdict: Accept},
		{id: "a-second-after-leaf-end", title: "a second after the leaf ended", tell: at(leafEnds.Add(time.Second)), fails: expired},
		{id: "a-day-after", title: "a day later: leaf and instance certificate have expired", tell: at(now.Add(24 * time.Hour)), fails: expired},
		{id: "a-week-after", title: "a week later: the root and the regional certificate alone are valid", tell: at(now.Add(7 * 24 * time.Hour)), fails: expired},
		{id: "a-year-after", title: "a year later: the root alone is valid", tell: at(now.AddDate(1, 0, 0)), fails: expired},
		{id: "clock-an-hour-slow", title: "the verifier's clock is an hour slow", tell: at(now.Add(-time.Hour)), fails: []string{attestation.CheckValidity, attestation.CheckTimestamp}},
		{id: "clock-a-week-slow", title: "the verifier's clock is a week slow", tell: at(now.Add(-7 * 24 * time.Hour)), fails: []string{attestation.CheckValidity, attestation.CheckTimestamp}},
		{id: "clock-at-1970", title: "the verifier's clock was never set", tell: at(time.Unix(1, 0)), fails: []string{attestation.CheckValidity, attestation.CheckTimestamp}, source: "enclave-signer#74"},
		{id: "after-root", title: "the root has expired too", tell: at(time.Date(2050, time.January, 1, 0, 0, 0, 0, time.UTC)), fails: expired, source: specValidity},
	})

	for place, of := range placeNames {
		if place == leaf {
			continue
		}
		validity := func(from, until time.Duration) func(*draft) {
			return func(d *draft) {
				d.chain[place].valid(k.reference.Add(from).Truncate(time.Second), k.reference.Add(until).Truncate(time.Second))
			}
		}
		// A root of another validity is another root, and pinned as such.
		k.cook("A14", recipe{fails: expired, source: specValidity + "; Cantina review of base/nitro-validator 2026, 3.2.8"}, []recipe{
			{id: of + "-expired", title: of + " certificate expired an hour ago, those below it are valid", forge: validity(-48*time.Hour, -time.Hour), pinned: place == root},
			{id: of + "-expired-a-second-ago", title: of + " certificate expired two seconds ago, those below it are valid", forge: validity(-48*time.Hour, -2*time.Second), pinned: place == root},
			{id: of + "-not-yet-valid", title: of + " certificate valid from in an hour on, those below it are valid", forge: validity(time.Hour, 48*time.Hour), pinned: place == root},
			{id: of + "-ends-before-leaf", title: of + " certificate ends in an hour, before the leaf does", forge: validity(-48*time.Hour, time.Hour), pinned: place == root, verdict: Accept, level: Strict},
		})
	}
	k.cook("A14", recipe{fails: expired, source: specValidity}, []recipe{
		{id: "leaf-expired", title: "leaf expired a second ago, in a chain that is valid", forge: func(d *draft) {
			older(2 * time.Hour)(d)
			d.chain[leaf].valid(k.reference.Add(-3*time.Hour), k.reference.Truncate(time.Second))
		}},
		{id: "leaf-not-yet-valid", title: "leaf valid from in a minute on", forge: func(d *draft) {
			d.chain[leaf].valid(k.reference.Add(time.Minute), k.reference.Add(3*time.Hour))
		}, fails: []string{attestation.CheckValidity, attestation.CheckTimestamp}},
		{id: "zonal-and-below-expired", title: "zonal, instance and leaf certificate expired days ago", forge: older(10 * 24 * time.Hour)},
		{id: "leaf-of-30-days", title: "a leaf of 30 days under an instance certificate that expired", forge: func(d *draft) {
			older(48 * time.Hour)(d)
			d.chain[leaf].valid(k.reference.Add(-48*time.Hour), k.reference.Add(30*24*time.Hour))
			d.madeAt(k.reference)
		}, wrong: "a valid leaf does not outlive its issuer"},
	})
}

// timestamps are A18.
func timestamps(k *kitchen) {
	ms := uint64(k.reference.UnixMilli()) // after 2020
	stamp := func(n uint64) func(*draft) { return func(d *draft) { d.timestamp(n) } }
	item := func(item []byte) func(*draft) { return func(d *draft) { d.set(keyTimestamp, item) } }
	wrong, format := []string{attestation.CheckTimestamp}, []string{attestation.CheckFormat}
	k.cook("A18", recipe{fails: wrong, source: specContent}, []recipe{
		{id: "zero", title: "timestamp of 0", forge: stamp(0)},
		{id: "one", title: "timestamp of 1, in 1970", forge: stamp(1), level: Strict},
		{id: "seconds", title: "timestamp in seconds", forge: stamp(ms / 1000), level: Strict, source: "base/nitro-validator README"},
		{id: "seconds-with-max-age", title: "timestamp in seconds, five minutes are allowed", forge: stamp(ms / 1000), tell: maxAge(300), fails: []string{attestation.CheckTimestamp, attestation.CheckFreshness}, source: "base/nitro-validator README"},
		{id: "microseconds", title: "timestamp in microseconds", forge: stamp(ms * 1000), level: Strict},
		{id: "microseconds-with-max-age", title: "timestamp in microseconds, five minutes are allowed", forge: stamp(ms * 1000), tell: maxAge(300), wrong: "its age is negative, which is less than five minutes"},
		{id: "far-future", title: "timestamp of 2^64-1", forge: stamp(math.MaxUint64), level: Strict},
		{id: "far-future-with-max-age", title: "timestamp of 2^64-1, five minutes are allowed", forge: stamp(math.MaxUint64), tell: maxAge(300), wrong: "it is -1 as a signed number"},
		{id: "2-to-63", title: "timestamp of 2^63", forge: stamp(1 << 63), tell: maxAge(300)},
		{id: "max-int64", title: "timestamp of 2^63-1", forge: stamp(math.MaxInt64), tell: maxAge(300)},
		{id: "an-hour-ahead", title: "an hour ahead of the verifier, within the leaf's validity", forge: stamp(ms + 3600_000), level: Strict},
		{id: "an-hour-ahead-with-max-age", title: "an hour ahead, five minutes are allowed", forge: stamp(ms + 3600_000), tell: maxAge(300), wrong: "its age is negative, which is less than five minutes"},
		{id: "after-leaf", title: "after the leaf's end", forge: stamp(ms + 4*3600_000), level: Strict, wrong: "no NSM signs with a leaf that has expired"},
		{id: "before-leaf", title: "an hour before the leaf's beginning", forge: stamp(ms - 3600_000), level: Strict, wrong: "no NSM signs with a leaf that is not valid yet"},
		{id: "two-seconds-ahead", title: "a second ahead of the verifier: clocks differ", forge: stamp(ms + 2000), verdict: Accept, source: "the leaf begins three seconds before its issue"},
		{id: "float", title: "timestamp a float", forge: item([]byte{0xfb, 0x42, 0x79, 0x9e, 0x00, 0x00, 0x00, 0x00, 0x00}), fails: format},
		{id: "text", title: "timestamp in text", forge: item(tstr(k.reference.Format(time.RFC3339Nano))), fails: format},
		{id: "bignum", title: "timestamp a bignum", forge: item(join([]byte{0xc2}, bstr(uint64Item(ms)[1:]))), fails: format, level: Strict, source: specDocument},
		{id: "tag-1", title: "timestamp with the tag of an epoch time", forge: item(join([]byte{0xc1}, uint64Item(ms))), fails: format, level: Strict, source: specDocument},
	})
}
