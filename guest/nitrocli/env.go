package nitrocli

import (
	"context"
	"io"
	"net"
	"time"
)

// Version is the release of AWS's nitro-cli whose behaviour this one has.
const Version = "1.5.0"

// Names of environment variables, AWS's.
const (
	SocketsPathVariable = "NITRO_CLI_SOCKETS_PATH"
	BlobsVariable       = "NITRO_CLI_BLOBS"
	ArtifactsVariable   = "NITRO_CLI_ARTIFACTS"
	LogsPathVariable    = "NITRO_CLI_LOGS_PATH"
	backtraceVariable   = "BACKTRACE"
	sourceDateVariable  = "SOURCE_DATE_EPOCH"
)

// Where things are if the variables do not say otherwise.
const (
	DefaultSocketsPath = "/run/nitro_enclaves"
	DefaultLogsPath    = "/var/log/nitro_enclaves"
	defaultBlobs       = "/usr/share/nitro_enclaves/blobs"
)

// An Env is what nitro-cli has of the world. All fields must be set.
type Env struct {
	Stdout, Stderr io.Writer
	// LookupEnv is os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// Spawn makes the process that will look after an enclave, see
	// enclaveproc.Serve, and returns the connection to it. An error has a code
	// of package failure.
	Spawn func() (*net.UnixConn, error)
	// DialVsock connects to a console. The context has the deadline.
	DialVsock func(ctx context.Context, cid, port uint32) (net.Conn, error)
	// Now is the time, for certificates and build times.
	Now func() time.Time
}

// env is the value of a variable, or what stands for one that is not set.
func (e *Env) env(name, absent string) string {
	if v, ok := e.LookupEnv(name); ok {
		return v
	}
	return absent
}

// SocketsDir is where enclave processes have their sockets.
func (e *Env) SocketsDir() string { return e.env(SocketsPathVariable, DefaultSocketsPath) }
