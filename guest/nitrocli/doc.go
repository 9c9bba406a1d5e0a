// Package nitrocli is nitro-cli: the command with which a parent instance
// starts, lists and ends enclaves, and builds, describes and signs their images.
// Commands, options, JSON, error codes and environment variables are those of
// AWS's nitro-cli 1.5; README.md of guest/cmd/nitro-cli says what differs.
//
// The sub-packages are its parts: args the command line, failure the errors,
// wire the messages between nitro-cli and the processes that look after enclaves,
// enclaveproc such a process.
package nitrocli
