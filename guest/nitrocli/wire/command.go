package wire

import (
	"fmt"
	"io"
	"slices"
)

// A Command is what a process is asked to do.
type Command string

// The commands of clients, their arguments and their answers. The names are
// those of EnclaveProcessCommandType.
const (
	// Run starts an enclave; only the process that was made for it takes it.
	// Arguments: [RunArgs]. Answer: replies.
	Run Command = "Run"
	// Terminate ends the enclave. No arguments. Answer: replies.
	Terminate Command = "Terminate"
	// Describe describes it. Arguments: [DescribeArgs]. Answer: [Confirm], replies.
	Describe Command = "Describe"
	// GetEnclaveCID and GetEnclaveFlags have no arguments; the answer is a
	// 64-bit number.
	GetEnclaveCID   Command = "GetEnclaveCID"
	GetEnclaveFlags Command = "GetEnclaveFlags"
	// GetEnclaveName has no arguments. Answer: [Confirm], replies.
	GetEnclaveName Command = "GetEnclaveName"
	// GetIDbyName has a name as arguments. Answer: [Confirm], replies, of which
	// one is the ID if the enclave has this name.
	GetIDbyName Command = "GetIDbyName"
)

// internal commands are those that a process of AWS's nitro-cli sends to itself.
var internal = []Command{"TerminateComplete", "ConnectionListenerStop", "NotPermitted"}

var commands = []Command{Run, Terminate, Describe, GetEnclaveCID, GetEnclaveFlags, GetEnclaveName, GetIDbyName}

// RunArgs are what run-enclave asks for. Fields that are nil were not given.
type RunArgs struct {
	EIFPath       string   `cbor:"eif_path"`
	EnclaveCID    *uint64  `cbor:"enclave_cid"`
	MemoryMiB     uint64   `cbor:"memory_mib"`
	CPUIDs        []uint32 `cbor:"cpu_ids"`
	DebugMode     bool     `cbor:"debug_mode"`
	AttachConsole bool     `cbor:"attach_console"`
	CPUCount      *uint32  `cbor:"cpu_count"`
	EnclaveName   *string  `cbor:"enclave_name"`
}

// DescribeArgs are what describe-enclaves asks for.
type DescribeArgs struct {
	Metadata bool `cbor:"metadata"`
}

// Send sends a command, and its arguments unless they are nil.
func Send(w io.Writer, c Command, args any) error {
	// Twice: AWS's process reads it once in the thread that accepts and once in
	// the thread that obeys.
	for range 2 {
		if err := writeFrame(w, string(c)); err != nil {
			return fmt.Errorf("send command %s: %w", c, err)
		}
	}
	if args == nil {
		return nil
	}
	if err := writeFrame(w, args); err != nil {
		return fmt.Errorf("send arguments of %s: %w", c, err)
	}
	return nil
}

// ReadCommand reads both copies of a command. It returns [io.EOF] if the client
// went away without one, and an error that wraps [ErrProtocol] for anything that
// is no command of a client.
func ReadCommand(r io.Reader) (Command, error) {
	var c, again string
	if err := readFrame(r, MaxCommand, &c); err != nil {
		return "", err
	}
	if err := readFrame(r, MaxCommand, &again); err != nil {
		return "", err
	}
	switch {
	case c != again:
		return "", fmt.Errorf("%w: the two copies of a command are %.20q and %.20q", ErrProtocol, c, again)
	case slices.Contains(internal, Command(c)):
		return "", fmt.Errorf("%w: command %s is no client's", ErrProtocol, c)
	case !slices.Contains(commands, Command(c)):
		return "", fmt.Errorf("%w: command is %.20q", ErrProtocol, c)
	}
	return Command(c), nil
}

// ReadArgs reads the arguments of a command.
func ReadArgs[T RunArgs | DescribeArgs | string](r io.Reader) (args T, err error) {
	if err = readFrame(r, MaxArgs, &args); err != nil {
		return args, fmt.Errorf("read arguments: %w", err)
	}
	return args, nil
}
