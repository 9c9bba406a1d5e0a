package debian

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSources(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Source
		wantErr  bool
	}{
		{name: "empty"},
		{
			name: "as a Debian installation has it",
			in: "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n" +
				"Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
			want: []Source{{"http://mirror.example/debian", []string{"bookworm", "bookworm-updates"},
				[]string{"main", "contrib"}, "/usr/share/keyrings/debian-archive-keyring.gpg"}},
		},
		{
			name: "comments, case, continued fields, two URIs",
			in: "# made by hand\ntypes: deb\nURIS: https://a.example/debian/\n# in between\n  https://b.example/debian\nsuites: sid\ncomponents: main\n\n\n" +
				"Types: deb\nURIs: file:/srv\nSuites: x\nComponents: main\n",
			want: []Source{
				{"https://a.example/debian/", []string{"sid"}, []string{"main"}, ""},
				{"https://b.example/debian", []string{"sid"}, []string{"main"}, ""},
				{"file:/srv", []string{"x"}, []string{"main"}, ""},
			},
		},
		{name: "switched off", in: "Types: deb\nURIs: http://a.example\nSuites: sid\nComponents: main\nEnabled: No\n"},
		{name: "only sources", in: "Types: deb-src\nURIs: http://a.example\nSuites: sid\nComponents: main\n"},
		{
			name: "key inline",
			in:   "Types: deb\nURIs: http://a.example\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
			want: []Source{{"http://a.example", []string{"sid"}, []string{"main"}, ""}},
		},
		{name: "continues nothing", in: " x\n", wantErr: true},
		{name: "no field", in: "Types: deb\nnonsense\n", wantErr: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseSources(strings.NewReader(tt.in))
			if (err != nil) != tt.wantErr {
				t.Fatalf("error %v, want error %v", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseList(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Source
		wantErr  bool
	}{
		{name: "empty", in: "\n  \n# deb http://a.example sid main\n"},
		{
			name: "plain",
			in:   "deb http://a.example/debian bookworm main contrib # here\ndeb-src http://a.example/debian bookworm main\n",
			want: []Source{{"http://a.example/debian", []string{"bookworm"}, []string{"main", "contrib"}, ""}},
		},
		{
			name: "tabs and options",
			in:   "deb\t[ arch=amd64 signed-by=/k/debian-archive-keyring.gpg,/k/b.gpg ]\thttps://a.example/debian\tsid\tmain\n",
			want: []Source{{"https://a.example/debian", []string{"sid"}, []string{"main"}, "/k/debian-archive-keyring.gpg"}},
		},
		{
			name: "disc",
			in:   "deb cdrom:[Debian GNU/Linux 13.0.0 _Trixie_ - Official amd64 NETINST]/ trixie main\n",
			want: []Source{{"cdrom:[Debian GNU/Linux 13.0.0 _Trixie_ - Official amd64 NETINST]/", []string{"trixie"}, []string{"main"}, ""}},
		},
		{
			name: "mirror list and flat",
			in:   "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\ndeb file:/srv/flat ./\n",
			want: []Source{
				{"mirror+file:/etc/apt/mirrors/debian.list", []string{"bookworm"}, []string{"main"}, ""},
				{"file:/srv/flat", []string{"./"}, []string{}, ""},
			},
		},
		{name: "unknown type", in: "rpm http://a.example sid main\n", wantErr: true},
		{name: "no suite", in: "deb http://a.example\n", wantErr: true},
		{name: "options do not end", in: "deb [arch=amd64 http://a.example sid main\n", wantErr: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseList(strings.NewReader(tt.in))
			if (err != nil) != tt.wantErr {
				t.Fatalf("error %v, want error %v", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMainMirrors(t *testing.T) {
	const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	src := func(uri, suite, component, key string) Source {
		return Source{uri, strings.Fields(suite), strings.Fields(component), key}
	}
	tests := []struct {
		name string
		in   []Source
		want []Mirror
	}{
		{name: "nothing"},
		{
			name: "a Debian machine with third parties",
			in: []Source{
				src("https://vendor.example/apt", "cloud-sdk-bookworm", "main", ""),
				src("https://node.example/node_20.x", "nodistro", "main", "/usr/share/keyrings/node.gpg"),
				src("https://docker.example/linux/debian", "bookworm", "stable", "/etc/apt/keyrings/docker.asc"),
				src("http://mirror.example/debian-security", "bookworm-security", "main", keyring),
				src("http://mirror.example/debian", "bookworm bookworm-updates", "main", keyring),
			},
			want: []Mirror{{"http://mirror.example/debian", keyring}},
		},
		{
			name: "third party that looks like Debian comes last",
			in: []Source{
				src("https://vendor.example/apt", "bookworm", "main", "/usr/share/keyrings/vendor.gpg"),
				src("http://plain.example/debian/", "bookworm", "main", ""),
				src("http://mirror.example/deb", "sid", "main", keyring),
			},
			want: []Mirror{
				{"http://mirror.example/deb", keyring},
				{"http://plain.example/debian", ""},
				{"https://vendor.example/apt", "/usr/share/keyrings/vendor.gpg"},
			},
		},
		{
			name: "the same mirror once",
			in: []Source{
				src("http://mirror.example/debian", "bookworm", "main", ""),
				src("http://mirror.example/debian/", "sid", "main", ""),
			},
			want: []Mirror{{"http://mirror.example/debian", ""}},
		},
		{
			name: "cloud image, disc",
			in: []Source{
				src("cdrom:[Debian 13]/", "trixie", "main", ""),
				src("mirror+file:/etc/apt/mirrors/debian.list", "trixie trixie-backports", "main", ""),
				src("mirror+file:/etc/apt/mirrors/debian-security.list", "trixie-security", "main", ""),
			},
			want: []Mirror{{"mirror+file:/etc/apt/mirrors/debian.list", ""}},
		},
		{name: "Ubuntu", in: []Source{src("http://ports.example/ubuntu", "noble noble-updates", "main universe", "")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want == nil {
				want = []Mirror{}
			}
			if diff := cmp.Diff(want, MainMirrors(tt.in)); diff != "" {
				t.Errorf("mirrors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"http://mirror.example/debian":               "http://mirror.example/debian",
		"http://me:secret@mirror.example/debian":     "http://-@mirror.example/debian",
		"mirror+file:/etc/apt/mirrors/debian.list":   "mirror+file:/etc/apt/mirrors/debian.list",
		"tor+http://me:secret@mirror.example/debian": "tor+http://-@mirror.example/debian",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzAptSources(f *testing.F) {
	f.Add("Types: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\nSigned-By: /k.gpg\n")
	f.Add("deb [signed-by=/k.gpg arch=amd64] http://a.example/debian sid main # x\n")
	f.Add("deb cdrom:[Debian 13]/ trixie main\n")
	f.Add("Types: deb\nURIs:\n a\n b\nSuites: ./\nEnabled: no\n\n: \n")
	f.Fuzz(func(t *testing.T, in string) {
		for _, parse := range []func(string) ([]Source, error){
			func(s string) ([]Source, error) { return ParseSources(strings.NewReader(s)) },
			func(s string) ([]Source, error) { return ParseList(strings.NewReader(s)) },
		} {
			sources, err := parse(in)
			if err != nil {
				continue
			}
			for _, m := range MainMirrors(sources) {
				if strings.ContainsAny(m.URI, "\n\r") || strings.Contains(m.SignedBy, "\n") {
					t.Errorf("mirror %+v spans lines", m)
				}
				_ = Redact(m.URI)
			}
		}
	})
}
