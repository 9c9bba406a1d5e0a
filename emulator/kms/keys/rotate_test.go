package keys

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRotateOnDemandKeepsOldMaterial(t *testing.T) {
	r, clock := newTestRing(t)
	k := create(t, r, Symmetric, "")
	first := got(r.Encrypt(k.ID, "", []byte("old"), nil))(t)
	clock.Add(time.Hour)
	now := got(r.Rotate(k.ID))(t)
	second := got(r.Encrypt(k.ID, "", []byte("new"), nil))(t)

	created := t0.Truncate(time.Millisecond)
	want := []Material{
		{ID: first.MaterialID, Since: created},
		{ID: second.MaterialID, Since: created.Add(time.Hour), Type: OnDemand},
	}
	if diff := cmp.Diff(want, now.Materials); diff != "" {
		t.Error(diff)
	}
	if first.MaterialID == second.MaterialID || now.MaterialID != second.MaterialID {
		t.Errorf("material before %s, after %s, of the key %s", first.MaterialID, second.MaterialID, now.MaterialID)
	}
	for _, test := range []struct {
		c    Ciphertext
		want string
	}{{first, "old"}, {second, "new"}} {
		p := got(r.Decrypt(k.ID, "", test.c.Blob, nil))(t)
		if diff := cmp.Diff(Plaintext{Secret(test.want), test.c.MaterialID}, p); diff != "" {
			t.Error(diff)
		}
	}
	// The material that a blob names is the only one that is tried.
	copy(first.Blob[blobMaterialAt:blobSaltAt], second.Blob[blobMaterialAt:blobSaltAt])
	wantErr(t, ignore(r.Decrypt(k.ID, "", first.Blob, nil)), ErrInvalidCiphertext)
}

func TestRotateOnDemandEnds(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	for range MaxOnDemandRotations {
		k = got(r.Rotate(k.ID))(t)
	}
	if n := k.OnDemandRotations(); n != MaxOnDemandRotations {
		t.Errorf("%d rotations, want %d", n, MaxOnDemandRotations)
	}
	wantErr(t, ignore(r.Rotate(k.ID)), ErrLimit)
}

func TestRotateBySchedule(t *testing.T) {
	r, clock := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.SetRotation(k.ID, true, 90))
	start := t0.Truncate(time.Millisecond)
	const day = 24 * time.Hour

	clock.Add(90*day - time.Millisecond)
	if k := got(r.Get(k.ID))(t); len(k.Materials) != 1 {
		t.Fatalf("%d materials before the date", len(k.Materials))
	}
	clock.Add(time.Millisecond)
	data := got(r.GenerateDataKey(k.ID, 32, nil))(t) // a use is enough
	if due := r.due.Load(); due != start.Add(180*day).UnixMilli() {
		t.Errorf("due at %v; every operation until the next date would look for what is", time.UnixMilli(due))
	}
	k = got(r.Get(k.ID))(t)
	if len(k.Materials) != 2 || k.Materials[1].Type != Automatic || !k.Materials[1].Since.Equal(start.Add(90*day)) || k.MaterialID != data.MaterialID {
		t.Fatalf("after the date: %+v", k)
	}
	// On demand does not change the schedule.
	clock.Add(day)
	k = got(r.Rotate(k.ID))(t)
	if want := (Rotation{true, 90, start.Add(180 * day)}); k.Rotation != want {
		t.Errorf("rotation %+v, want %+v", k.Rotation, want)
	}
	// Several dates at once bring one rotation, and the next in step.
	clock.Add(300 * day)
	k = got(r.Get(k.ID))(t)
	if want := (Rotation{true, 90, start.Add(450 * day)}); k.Rotation != want || len(k.Materials) != 4 {
		t.Errorf("%d materials, rotation %+v, want %+v", len(k.Materials), k.Rotation, want)
	}
	must(t, r.SetRotation(k.ID, false, 0))
	clock.Add(1000 * day)
	if k = got(r.Get(k.ID))(t); len(k.Materials) != 4 || k.Rotation != (Rotation{}) {
		t.Errorf("after it is off: %d materials, rotation %+v", len(k.Materials), k.Rotation)
	}
}

// A key rotates only while it is enabled, and at once when it is again.
func TestNoRotationWhileDisabled(t *testing.T) {
	r, clock := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.SetRotation(k.ID, true, 0))
	must(t, r.SetEnabled(k.ID, false))
	clock.Add(400 * 24 * time.Hour)
	if n := len(got(r.Get(k.ID))(t).Materials); n != 1 {
		t.Errorf("%d materials of a disabled key", n)
	}
	must(t, r.SetEnabled(k.ID, true))
	if n := len(got(r.Get(k.ID))(t).Materials); n != 2 {
		t.Errorf("%d materials of the key enabled again", n)
	}
}

func TestRotationPeriods(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	for days, want := range map[int]error{-1: ErrValidation, 89: ErrValidation, 90: nil, 2560: nil, 2561: ErrValidation} {
		wantErr(t, r.SetRotation(k.ID, true, days), want)
	}
}

// A clock that goes mad costs one rotation for each operation at most.
func TestScheduleInTheFarFuture(t *testing.T) {
	r, clock := newTestRing(t)
	k := create(t, r, Symmetric, "")
	must(t, r.SetRotation(k.ID, true, 90))
	clock.mu.Lock()
	clock.now = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	clock.mu.Unlock()
	for range 5 {
		k = got(r.Get(k.ID))(t)
	}
	if len(k.Materials) != 2 || !k.Rotation.Next.After(clock.Now()) {
		t.Errorf("%d materials, next %v", len(k.Materials), k.Rotation.Next)
	}
}
