package forward

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		text string
		want Spec
	}{
		{"tcp to vsock", "tcp:127.0.0.1:8080=vsock:5005", Spec{
			Listen: Endpoint{Network: "tcp", Address: "127.0.0.1:8080"},
			Dial:   Endpoint{Network: "vsock", Address: "5005", Port: 5005},
		}},
		{"vsock to ipv6", "vsock:8000=tcp:[::1]:443", Spec{
			Listen: Endpoint{Network: "vsock", Address: "8000", Port: 8000},
			Dial:   Endpoint{Network: "tcp", Address: "[::1]:443"},
		}},
		{"vsock to unix", "vsock:9001=unix:/tmp/app.sock", Spec{
			Listen: Endpoint{Network: "vsock", Address: "9001", Port: 9001},
			Dial:   Endpoint{Network: "unix", Address: "/tmp/app.sock"},
		}},
		{"path with an equals sign on the left", "unix:/a=b=c=vsock:1", Spec{
			Listen: Endpoint{Network: "unix", Address: "/a=b=c"},
			Dial:   Endpoint{Network: "vsock", Address: "1", Port: 1},
		}},
		{"path with an equals sign on the right", "vsock:1=unix:/a=vsock:2", Spec{
			Listen: Endpoint{Network: "vsock", Address: "1", Port: 1},
			Dial:   Endpoint{Network: "unix", Address: "/a=vsock:2"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.text, diff)
			}
			if got.String() != tt.text {
				t.Errorf("String() = %q, want %q", got.String(), tt.text)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no right side", "tcp:127.0.0.1:80", "want LISTEN=DIAL"},
		{"no network", "8080=vsock:1", `"8080" has no network`},
		{"unknown network", "udp:1.2.3.4:5=vsock:1", `network is "udp"; allowed are vsock, tcp and unix`},
		{"vsock twice", "vsock:1=vsock:2", "exactly one side must be vsock"},
		{"vsock nowhere", "tcp:a:1=tcp:b:2", "exactly one side must be vsock"},
		{"port too large", "vsock:4294967296=tcp:a:1", "allowed are 0 to 4294967294"},
		{"port any", "vsock:4294967295=tcp:a:1", "allowed are 0 to 4294967294"},
		{"tcp without port", "tcp:localhost=vsock:1", "allowed is HOST:PORT"},
		{"tcp port too large", "tcp:a:70000=vsock:1", "allowed are 0 to 65535"},
		{"long path", "unix:/" + strings.Repeat("x", 107) + "=vsock:1", "allowed are 1 to 107"},
		{"no path", "unix:=vsock:1", "allowed are 1 to 107"},
		{"abstract", "unix:@app=vsock:1", "abstract sockets have no owner"},
		{"empty", "", "want LISTEN=DIAL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse(%q) = %v, want an error with %q", tt.text, err, tt.want)
			}
		})
	}
}
