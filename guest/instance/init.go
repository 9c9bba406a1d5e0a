package instance

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	modulesDir = "/modules"
	busybox    = "/bin/busybox"
	program    = "/init" // this one
)

// AgentArg is the argument with which the program is the agent.
const AgentArg = "agent"

// environment is that of the agent, and so of commands that the Host runs.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "LANG=C.UTF-8",
}

// Init is PID 1 and returns only with an error, upon which the caller ends and the
// kernel panics.
func Init() error { return boot(linux{}) }

func boot(sys system) error {
	sys.CatchSignals()
	if err := mountDev(sys); err != nil {
		return err
	}
	if err := sys.OpenConsole(); err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	if err := mountAll(sys); err != nil {
		return err
	}
	loadModules(sys)
	if err := sys.LoopbackUp(); err != nil {
		sys.Log("bring up loopback: " + err.Error())
	}
	installBusybox(sys)
	return supervise(sys)
}

// loadModules loads the drivers, in the order of their names. An instance without
// one of them is still of use, if only to find out why.
func loadModules(sys system) {
	names, err := sys.ListDir(modulesDir)
	if err != nil && err != unix.ENOENT {
		sys.Log("list " + modulesDir + ": " + err.Error())
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasSuffix(name, ".ko") {
			continue
		}
		if err := sys.LoadModule(modulesDir + "/" + name); err != nil && err != unix.EEXIST { // loaded or built in
			sys.Log("load module " + name + ": " + err.Error())
		}
	}
}

// installBusybox has busybox make links to itself. It knows its commands; whoever
// makes the image does not.
func installBusybox(sys system) {
	pid, err := sys.Start([]string{busybox, "--install", "-s"}, environment)
	if err == unix.ENOENT {
		return
	}
	if err != nil {
		sys.Log("install busybox: " + err.Error())
		return
	}
	if how, err := waitFor(sys, pid); err != nil {
		sys.Log("install busybox: " + err.Error())
	} else if how != "" {
		sys.Log("install busybox: " + how)
	}
}

// supervise runs the agent for ever.
func supervise(sys system) error {
	for {
		pid, err := sys.Start([]string{program, AgentArg}, environment)
		if err != nil {
			return fmt.Errorf("start agent: %w", err)
		}
		how, err := waitFor(sys, pid)
		if err != nil {
			return fmt.Errorf("wait for agent: %w", err)
		}
		if how == "" {
			how = "by itself"
		}
		sys.Log("agent ended: " + how + "; starting it again")
		sys.Pause() // one that cannot run must not keep the machine busy
	}
}

// waitFor reaps children, orphans included, until the one with the id has ended.
func waitFor(sys system, pid int) (how string, err error) {
	for {
		child, how, err := sys.Wait()
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", err
		}
		if child == pid {
			return how, nil
		}
	}
}
