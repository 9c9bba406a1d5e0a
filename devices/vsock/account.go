package vsock

// An account is what one member of the switch, by its CID, costs a guest:
// connections between the two, whoever opened them, and what waits to be sent on
// them. Limits hold for each account, and accounts take turns at the guest's
// receive buffers, so no enclave can use up its parent's to the harm of another.
//
// What belongs to no connection, the resets that answer a guest's stray packets,
// is in the guest's account with itself, Device.own.
//
// Device.mu protects it.
type account struct {
	cid     uint32
	live    int          // streams that count against Config.MaxConns
	granted int          // sum of their windows
	ready   list[stream] // with something to send, served in turn
	resets  resets       // to be sent; no stream belongs to them
	turn    node[account]
}

// account returns that of a member, a new one if it has none; mu is held.
func (d *Device) account(cid uint32) *account {
	a := d.accounts[cid]
	if a == nil {
		a = new(account)
		a.init(cid, &d.sw.cfg)
		d.accounts[cid] = a
	}
	return a
}

func (a *account) init(cid uint32, cfg *Config) {
	a.cid = cid
	a.resets.limit = cfg.MaxConns + 256
	a.turn.of = a
}

// activate gives a its turns: it has something to send; mu is held.
func (d *Device) activate(a *account) {
	if !a.turn.listed {
		d.turns.push(&a.turn)
	}
}

// rotate ends a turn of a, or takes it out if it has nothing to send any more;
// mu is held.
func (d *Device) rotate(a *account) {
	if a.turn.listed {
		d.turns.remove(&a.turn)
	}
	if a.ready.head != nil || a.resets.n > 0 {
		d.turns.push(&a.turn)
	} else {
		d.tidy(a)
	}
}

// tidy forgets an account that has nothing in it; mu is held.
func (d *Device) tidy(a *account) {
	if a.live == 0 && !a.turn.listed && d.accounts[a.cid] == a {
		delete(d.accounts, a.cid)
	}
}
