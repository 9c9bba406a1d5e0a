package failure

import "fmt"

// A Code is an error number of nitro-cli, E00 to E60. The process exits with it.
type Code int

// The codes, under the names they have in nitro-cli (src/common/mod.rs).
const (
	UnspecifiedError Code = iota
	MissingArgument
	ConflictingArgument
	InvalidArgument
	SocketPairCreationFailure
	ProcessSpawnFailure
	DaemonizeProcessFailure
	ReadFromDiskFailure
	UnusableConnectionError
	SocketCloseError
	SocketConnectTimeoutError
	SocketError
	EpollError
	InotifyError
	InvalidCommand
	LockAcquireFailure
	ThreadJoinFailure
	SerdeError
	FilePermissionsError
	FileOperationFailure
	InvalidCPUConfiguration
	NoSuchCPUAvailableInPool
	InsufficientCPUs
	MalformedCPUID
	CPUError
	NoSuchHugepageFlag
	InsufficientMemoryRequested
	InsufficientMemoryAvailable
	InvalidEnclaveFD
	IoctlFailure
	IoctlImageLoadInfoFailure
	IoctlSetMemoryRegionFailure
	IoctlAddVCPUFailure
	IoctlEnclaveStartFailure
	MemoryOverflow
	EIFParsingError
	EnclaveBootFailure
	EnclaveEventWaitError
	EnclaveProcessCommandNotExecuted
	EnclaveProcessConnectionFailure
	SocketPathNotFound
	EnclaveProcessSendReplyFailure
	EnclaveMmapError
	EnclaveMunmapError
	EnclaveConsoleConnectionFailure
	EnclaveConsoleReadError
	EnclaveConsoleWriteOutputError
	IntegerParsingError
	EIFBuildingError
	DockerImageBuildError
	DockerImagePullError
	ArtifactsPathNotSet
	BlobsPathNotSet
	ClockSkewError
	SignalMaskingError
	SignalUnmaskingError
	LoggerError
	HasherError
	EnclaveNamingError
	EIFSignatureCheckerError
	EIFSigningError
)

// String is the form in messages, such as "E26".
func (c Code) String() string { return fmt.Sprintf("E%02d", int(c)) }

// Title is the code's name as nitro-cli's messages begin, such as "Insufficient
// memory requested".
func (c Code) Title() string { return c.entry().title }

// Codes are all of them, in order.
func Codes() []Code {
	all := make([]Code, 0, len(table))
	for c := range table {
		all = append(all, Code(c))
	}
	return all
}

// ParseCode reads the form of [Code.String], and nothing else.
func ParseCode(s string) (Code, bool) {
	for c := range table {
		if Code(c).String() == s {
			return Code(c), true
		}
	}
	return 0, false
}

// ExitCode is what the process exits with.
func (c Code) ExitCode() int {
	if c == UnspecifiedError {
		return 1 // nitro-cli exits with 0, which is no way to fail
	}
	return int(c)
}

func (c Code) entry() entry {
	if c < 0 || int(c) >= len(table) {
		return table[UnspecifiedError]
	}
	return table[c]
}
