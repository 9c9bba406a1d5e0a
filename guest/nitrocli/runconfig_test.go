package nitrocli_test

import (
	"fmt"
	"testing"

	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
)

func TestRunWithConfig(t *testing.T) {
	w := newWorld(t)
	image, _ := w.image("app.eif", 10, nil)
	config := w.write("c.json", fmt.Sprintf(`{"enclave_name": "cfg", "cpu_ids": [4, 5], "memory_mib": 64, "eif_path": %q, "enclave_cid": 20, "debug_mode": true}`, image))
	r := w.run("run-enclave", "--config", config, "--attach-console")
	w.want(r, 0, "warning: --attach-console has no effect beside --config")
	info := decode[enclaveproc.RunInfo](t, r.stdout)
	if info.EnclaveName != "cfg" || info.EnclaveCID != 20 || info.CPUIDs[0] != 4 || !w.sys.Enclaves()[0].Debug() {
		t.Errorf("got %+v", info)
	}
	if len(w.dialed) > 0 {
		t.Errorf("connected to %v", w.dialed)
	}
	for config, want := range map[string]struct {
		code int
		text string
	}{
		`{"memory_mib": 64, "eif_path": "a"}`:                                               {1, "[ E01 ] Missing mandatory argument"},
		`{"memory_mib": 64, "eif_path": "a", "cpu_count": 2, "cpu_ids": [2]}`:               {2, "[ E02 ] Conflicting arguments. Both `cpu-count` and `cpu-ids` were given."},
		`{"eif_path": "a", "cpu_count": 2}`:                                                 {17, "[ E17 ] Serde error"},
		`{"memory_mib": 64, "eif_path": "/no/a.eif", "cpu_count": 2}`:                       {39, "[ E19 ]"},
		`{"memory_mib": 64, "eif_path": "` + image + `", "cpu_count": 2, "enclave_cid": 3}`: {39, "NE_ERR_INVALID_ENCLAVE_CID, 275"},
	} {
		w.want(w.run("run-enclave", "--config", w.write("bad.json", config)), want.code, want.text)
	}
	w.want(w.run("run-enclave", "--config", w.path("none.json")), 19, "[ E19 ]", "none.json', failing operation: 'Open'")
}
