package keys

import "time"

// SetRotation turns automatic rotation of a symmetric key on, every days (90..2560,
// or 365 if zero) from now on, or off. Errors are [ErrUnsupported] for other keys,
// [ErrDisabled], [ErrInvalidState] and [ErrValidation].
func (r *Ring) SetRotation(id string, enabled bool, days int) error {
	if days == 0 {
		days = DefaultRotationDays
	}
	if enabled && (days < MinRotationDays || days > MaxRotationDays) {
		return fail(ErrValidation, "RotationPeriodInDays is %d; allowed are %d to %d", days, MinRotationDays, MaxRotationDays)
	}
	_, err := r.update(id, func(k *Key) error {
		if err := k.rotatable(); err != nil {
			return err
		}
		k.Rotation = Rotation{}
		if enabled {
			k.Rotation = Rotation{Enabled: true, PeriodDays: days, Next: r.now().AddDate(0, 0, days)}
		}
		return nil
	})
	return err
}

// Rotate gives a symmetric key new material now and leaves the schedule of automatic
// rotation as it is. What was encrypted before can still be decrypted. Errors are
// those of SetRotation, and [ErrLimit] after 25 rotations on demand.
func (r *Ring) Rotate(id string) (*Key, error) {
	r.write.Lock()
	defer r.write.Unlock()
	if err := r.settleLocked(); err != nil {
		return nil, err
	}
	e, err := r.look(id)
	if err != nil {
		return nil, err
	}
	if err := e.key.rotatable(); err != nil {
		return nil, err
	}
	if n := e.key.OnDemandRotations(); n >= MaxOnDemandRotations || len(e.materials) >= maxMaterials {
		return nil, fail(ErrLimit, "%s was rotated on demand %d times; allowed are %d", e.key.ARN, n, MaxOnDemandRotations)
	}
	rotated, err := r.rotated(e, OnDemand, r.now())
	if err != nil {
		return nil, err
	}
	if err := r.commit(change{put: []*entry{rotated}}); err != nil {
		return nil, err
	}
	return rotated.key, nil
}

func (k *Key) rotatable() error {
	if k.Spec != Symmetric {
		return fail(ErrUnsupported, "%s has KeySpec %s; only SYMMETRIC_DEFAULT keys rotate", k.ARN, k.Spec)
	}
	return k.usable()
}

// rotated is the entry with new material.
func (r *Ring) rotated(e *entry, how RotationType, since time.Time) (*entry, error) {
	m, err := r.newMaterial(Symmetric)
	if err != nil {
		return nil, err
	}
	k := e.key.clone()
	k.MaterialID = m.name()
	k.Materials = append(k.Materials, Material{ID: k.MaterialID, Since: since, Type: how})
	// The slice of the entry that readers have must not grow under them.
	materials := append(e.materials[:len(e.materials):len(e.materials)], m)
	return &entry{key: k, materials: materials}, nil
}
