// Command hostile is what a parent instance does that wants to harm or to spy, for
// tests:
//
//	hostile memory PID [NEEDLE]     what a process has donated: how much of its huge
//	                                pages is not zero, and whether NEEDLE is there
//	hostile donate EIF MIB CPUS NEEDLE
//	                                starts an enclave from memory that it keeps mapped,
//	                                prints its CID, and at the end of its input looks
//	                                for NEEDLE in that memory, before and after it ends
//	                                the enclave
//	hostile limits                  how many slots the device gives, with which error
//	                                it refuses the next, and with which the driver
//	                                refuses a CPU that is not set aside
//	hostile registers SECONDS SEED  random accesses to the registers of the Nitro
//	                                Enclaves device, whose driver it unbinds
//
// They print JSON objects.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

const usage = "usage: hostile memory PID [NEEDLE] | hostile donate EIF MIB CPUS NEEDLE | hostile limits | hostile registers SECONDS SEED"

func main() {
	run, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(exitUsage)
	}
	result, err := run()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(exitFailed)
	}
}

// parse returns what args ask for.
func parse(args []string) (func() (any, error), error) {
	switch {
	case (len(args) == 2 || len(args) == 3) && args[0] == "memory":
		pid, err := strconv.Atoi(args[1])
		if err != nil || pid < 1 {
			return nil, fmt.Errorf("PID is %q; allowed is a process id", args[1])
		}
		needle := ""
		if len(args) == 3 {
			needle = args[2]
		}
		return func() (any, error) { return readDonated(pid, needle) }, nil
	case len(args) == 1 && args[0] == "limits":
		return func() (any, error) { return findLimits() }, nil
	case len(args) == 5 && args[0] == "donate":
		mib, err := strconv.ParseUint(args[2], 10, 20)
		if err != nil || mib == 0 {
			return nil, fmt.Errorf("MIB is %q; allowed are 1 to 1048575", args[2])
		}
		cpus, err := strconv.ParseUint(args[3], 10, 8)
		if err != nil || cpus == 0 {
			return nil, fmt.Errorf("CPUS is %q; allowed are 1 to 255", args[3])
		}
		return func() (any, error) { return donate(args[1], mib<<20, int(cpus), args[4]) }, nil
	case len(args) == 3 && args[0] == "registers":
		seconds, err := strconv.ParseFloat(args[1], 64)
		if err != nil || !(seconds > 0 && seconds <= 3600) {
			return nil, fmt.Errorf("SECONDS is %q; allowed are 0 to 3600", args[1])
		}
		seed, err := strconv.ParseUint(args[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("SEED is %q; allowed is a number", args[2])
		}
		return func() (any, error) {
			return attackRegisters(time.Duration(seconds*float64(time.Second)), seed)
		}, nil
	}
	return nil, fmt.Errorf("%s", usage)
}
