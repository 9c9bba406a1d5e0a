package supervisor

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator"
)

func TestResolve(t *testing.T) {
	instance := func(id, name string, inside ...string) Running {
		d := &InstanceDescription{Info: emulator.InstanceInfo{InstanceID: id, Name: name}}
		for _, e := range inside {
			d.Enclaves = append(d.Enclaves, emulator.EnclaveInfo{EnclaveID: e})
		}
		return Running{Description: Description{Instance: d}}
	}
	enclave := func(id, name string) Running {
		return Running{Description: Description{Enclave: &emulator.EnclaveInfo{EnclaveID: id, EnclaveName: name}}}
	}
	list := []Running{
		instance("i-0aa1", "web", "i-0aa1-enc1"),
		instance("i-0aa2", "i-0aa2"),
		instance("i-1bb", "i-0"), // a name that is the beginning of others' ids
		enclave("i-2-enc1", "app"),
		enclave("i-2-enc2", "i-1bb"), // the id of another as its name
	}
	tests := []struct {
		word, want string
		err        error
	}{
		{"i-0aa1", "i-0aa1", nil},
		{"web", "i-0aa1", nil},
		{"i-0aa2", "i-0aa2", nil},
		{"i-0", "i-1bb", nil},
		{"i-1", "i-1bb", nil},
		{"i-1bb", "i-1bb", nil},
		{"app", "i-2-enc1", nil},
		{"i-2-enc2", "i-2-enc2", nil},
		{"i-0aa", "", &AmbiguousError{"i-0aa", []string{"instance i-0aa1", "instance i-0aa2"}}},
		{"i-2", "", &AmbiguousError{"i-2", []string{"enclave i-2-enc1", "enclave i-2-enc2"}}},
		{"i-0aa1-enc1", "", &InsideError{"i-0aa1-enc1", "i-0aa1"}},
		{"i-0aa1-enc", "", &NotFoundError{`"i-0aa1-enc" is no running instance or enclave (nitrolab ps lists them)`}},
		{"we", "", &NotFoundError{`"we" is no running instance or enclave (nitrolab ps lists them)`}},
		{"", "", &NotFoundError{`"" is no running instance or enclave (nitrolab ps lists them)`}},
	}
	for _, tt := range tests {
		t.Run(tt.word, func(t *testing.T) {
			r, err := resolve(list, tt.word)
			if diff := cmp.Diff(tt.err, err); diff != "" {
				t.Fatalf("error (-want +got):\n%s", diff)
			}
			if err == nil && r.ID() != tt.want {
				t.Errorf("%s, want %s", r.ID(), tt.want)
			}
		})
	}
	for err, want := range map[error]string{
		&AmbiguousError{"i-2", []string{"enclave i-2-enc1", "enclave i-2-enc2"}}: `"i-2" is the beginning of 2 ids: enclave i-2-enc1, enclave i-2-enc2; give more of it`,
		&InsideError{"i-1-enc1", "i-1"}:                                          "enclave i-1-enc1 is one of instance i-1; nitro-cli looks after it there: nitrolab shell i-1",
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

// Several words at once: all or nothing, and none twice.
func TestResolveSeveral(t *testing.T) {
	base := useBase(t)
	t.Setenv(plotEnv, "run")
	var ids []string
	for _, name := range []string{"a", "b"} {
		s, err := Start(within(t), Order{Instance: &emulator.InstanceConfig{Name: name}}, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ids = append(ids, s.ID())
	}
	found, err := Resolve(within(t), base, "b", "a", ids[1])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range found {
		got = append(got, r.ID())
	}
	if diff := cmp.Diff([]string{ids[1], ids[0]}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	found, err = Resolve(within(t), base, "a", "c", "i-")
	var ambiguous *AmbiguousError
	if found != nil || !errors.Is(err, ErrNotFound) || !errors.As(err, &ambiguous) {
		t.Errorf("Resolve = %v, %v; want nothing and both reasons", found, err)
	}
}
