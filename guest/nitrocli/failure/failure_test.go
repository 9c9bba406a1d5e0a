package failure

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The numbers that AWS's document_errors.rs gives to the names of mod.rs.
func TestNumbers(t *testing.T) {
	tests := []struct {
		code  Code
		want  string
		title string
	}{
		{UnspecifiedError, "E00", "Unspecified error"},
		{MissingArgument, "E01", "Missing mandatory argument"},
		{ConflictingArgument, "E02", "Conflicting arguments"},
		{InvalidArgument, "E03", "Invalid argument provided"},
		{SocketPairCreationFailure, "E04", "Socket pair creation failure"},
		{ProcessSpawnFailure, "E05", "Process spawn failure"},
		{DaemonizeProcessFailure, "E06", "Daemonize process failure"},
		{ReadFromDiskFailure, "E07", "Read from disk failure"},
		{UnusableConnectionError, "E08", "Unusable connection error"},
		{SocketCloseError, "E09", "Socket close error"},
		{SocketConnectTimeoutError, "E10", "Socket connect set timeout error"},
		{SocketError, "E11", "Socket error"},
		{EpollError, "E12", "Epoll error"},
		{InotifyError, "E13", "Inotify error"},
		{InvalidCommand, "E14", "Invalid command"},
		{LockAcquireFailure, "E15", "Lock acquire failure"},
		{ThreadJoinFailure, "E16", "Thread join failure"},
		{SerdeError, "E17", "Serde error"},
		{FilePermissionsError, "E18", "File permissions error"},
		{FileOperationFailure, "E19", "File operation failure"},
		{InvalidCPUConfiguration, "E20", "Invalid CPU configuration"},
		{NoSuchCPUAvailableInPool, "E21", "No such CPU available in the pool"},
		{InsufficientCPUs, "E22", "Insufficient CPUs available in the pool"},
		{MalformedCPUID, "E23", "Malformed CPU ID error"},
		{CPUError, "E24", "CPU error"},
		{NoSuchHugepageFlag, "E25", "No such hugepage flag error"},
		{InsufficientMemoryRequested, "E26", "Insufficient memory requested"},
		{InsufficientMemoryAvailable, "E27", "Insufficient memory available"},
		{InvalidEnclaveFD, "E28", "Invalid enclave descriptor"},
		{IoctlFailure, "E29", "Ioctl failure"},
		{IoctlImageLoadInfoFailure, "E30", "Ioctl image get load info failure"},
		{IoctlSetMemoryRegionFailure, "E31", "Ioctl set memory region failure"},
		{IoctlAddVCPUFailure, "E32", "Ioctl add vCPU failure"},
		{IoctlEnclaveStartFailure, "E33", "Ioctl start enclave failure"},
		{MemoryOverflow, "E34", "Memory overflow"},
		{EIFParsingError, "E35", "EIF file parsing error"},
		{EnclaveBootFailure, "E36", "Enclave boot failure"},
		{EnclaveEventWaitError, "E37", "Enclave event wait error"},
		{EnclaveProcessCommandNotExecuted, "E38", "Enclave process command not executed error"},
		{EnclaveProcessConnectionFailure, "E39", "Enclave process connection failure"},
		{SocketPathNotFound, "E40", "Socket path not found"},
		{EnclaveProcessSendReplyFailure, "E41", "Enclave process send reply failure"},
		{EnclaveMmapError, "E42", "Enclave mmap error"},
		{EnclaveMunmapError, "E43", "Enclave munmap error"},
		{EnclaveConsoleConnectionFailure, "E44", "Enclave console connection failure"},
		{EnclaveConsoleReadError, "E45", "Enclave console read error"},
		{EnclaveConsoleWriteOutputError, "E46", "Enclave console write output error"},
		{IntegerParsingError, "E47", "Integer parsing error"},
		{EIFBuildingError, "E48", "EIF building error"},
		{DockerImageBuildError, "E49", "Docker image build error"},
		{DockerImagePullError, "E50", "Docker image pull error"},
		{ArtifactsPathNotSet, "E51", "Artifacts path environment variable not set"},
		{BlobsPathNotSet, "E52", "Blobs path environment variable not set"},
		{ClockSkewError, "E53", "Clock skew error"},
		{SignalMaskingError, "E54", "Signal masking error"},
		{SignalUnmaskingError, "E55", "Signal unmasking error"},
		{LoggerError, "E56", "Logger error"},
		{HasherError, "E57", "Hasher error"},
		{EnclaveNamingError, "E58", "Naming error"},
		{EIFSignatureCheckerError, "E59", "EIF signature checker error"},
		{EIFSigningError, "E60", "Signing error"},
	}
	if len(tests) != len(Codes()) {
		t.Fatalf("%d codes, the test has %d", len(Codes()), len(tests))
	}
	for i, tt := range tests {
		if int(tt.code) != i || tt.code.String() != tt.want || tt.code.Title() != tt.title {
			t.Errorf("%d is %v %q, want %s %q", tt.code, tt.code, tt.code.Title(), tt.want, tt.title)
		}
		if c, ok := ParseCode(tt.want); !ok || c != tt.code {
			t.Errorf("ParseCode(%s) is %v, %v", tt.want, c, ok)
		}
		if want := max(1, i); tt.code.ExitCode() != want {
			t.Errorf("%v: exit code %d, want %d", tt.code, tt.code.ExitCode(), want)
		}
		if e := tt.code.entry(); e.why == "" || strings.Count(e.detail, "%") != strings.Count(e.detail, "%s") {
			t.Errorf("%v: entry %+v", tt.code, e)
		}
		if text := Explain(tt.want); !strings.HasPrefix(text, tt.title+". ") {
			t.Errorf("Explain(%s) is %q", tt.want, text)
		}
	}
	for _, s := range []string{"", "E61", "E1", "e26", "26", "E026", "E-1", "E26 "} {
		if c, ok := ParseCode(s); ok {
			t.Errorf("ParseCode(%q) is %v", s, c)
		}
		if got := Explain(s); got != "No such error code "+s {
			t.Errorf("Explain(%q) is %q", s, got)
		}
	}
}

func TestMessage(t *testing.T) {
	tail := func(code string) string {
		return "\n\nFor more details, run `nitro-cli explain --error-code " + code + "` or see https://docs.aws.amazon.com/enclaves/latest/user/cli-errors.html#" + code
	}
	steps := During("outer", During("inner", New(EnclaveBootFailure, "no heartbeat")))
	tests := []struct {
		name      string
		err       error
		backtrace bool
		want      string
	}{
		{
			"values", New(InsufficientMemoryRequested, "at least %d MB", 80).With("memory", "64", "80"), false,
			"[ E26 ] Insufficient memory requested. `memory` is 64 MB, but based on the EIF file size, the minimum memory is 80 MB.\nCause: at least 80 MB" + tail("E26"),
		},
		{
			"too few values", &Error{Code: InsufficientMemoryRequested, Info: []string{"memory"}}, false,
			"[ E26 ] Insufficient memory requested. The memory of an enclave must be at least 4 times the size of its image." + tail("E26"),
		},
		{
			"file", Wrap(FileOperationFailure, fs.ErrNotExist, "/a", "Open"), false,
			"[ E19 ] File operation failure. File: '/a', failing operation: 'Open'.\nCause: file does not exist" + tail("E19"),
		},
		{
			"no code", errors.New("boom"), false,
			"[ E00 ] Unspecified error. An error that has no code of its own.\nCause: boom" + tail("E00"),
		},
		{
			"backtrace", steps, true,
			"[ E36 ] Enclave boot failure. " + EnclaveBootFailure.entry().why + "\nCause: no heartbeat" + tail("E36") + "\n\nBacktrace:\n  outer\n  inner",
		},
		{
			"code out of range", &Error{Code: 99}, false,
			"[ E99 ] Unspecified error. An error that has no code of its own." + tail("E99"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Message(tt.err, tt.backtrace)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	if Wrap(SerdeError, nil) != nil || During("x", nil) != nil {
		t.Error("nil became an error")
	}
	inner := New(EnclaveNamingError, "twice")
	outer := Wrap(SerdeError, fmt.Errorf("more: %w", inner))
	if CodeOf(outer) != EnclaveNamingError {
		t.Errorf("code is %v, want that of the inner error", CodeOf(outer))
	}
	// What was joined first is the error that the user sees.
	if got := CodeOf(errors.Join(inner, New(SerdeError, "x"))); got != EnclaveNamingError {
		t.Errorf("code is %v, want that of the first error", got)
	}
	if got := CodeOf(errors.New("x")); got != UnspecifiedError {
		t.Errorf("code is %v", got)
	}
	err := Wrap(FileOperationFailure, fs.ErrPermission)
	if !errors.Is(err, fs.ErrPermission) || err.Error() != "E19: File operation failure: permission denied" {
		t.Errorf("error is %v", err)
	}
	if got := (&Error{Code: SerdeError}).Error(); got != "E17: Serde error" {
		t.Errorf("error is %v", got)
	}
	plain := errors.New("x")
	if During("step", plain) != plain {
		t.Error("an error without a code changed")
	}
}
