// Package guard runs a child process that does not outlive its owner, however
// the owner ends: return, panic, os.Exit, "go test -timeout", kill -9.
//
// # How
//
// [Start] puts two small processes between the owner and the child, both the
// owner's own executable started again from /proc/self/exe:
//
//	owner -> spare -> keeper -> child -> its descendants
//
// All hold one socket whose other end only the owner has. When the owner ends,
// the kernel closes it; the keeper then kills the child's process group and
// everything the child ever started, removes the paths it was told to remove,
// and ends. Nothing depends on a handler that the owner would have to run.
//
// Why two: whichever one, or two, of owner, spare and keeper are killed, one
// that knows what to do is left.
//
//	killed              who cleans up
//	owner               keeper (kills, removes)
//	keeper              spare (kills)
//	spare               keeper (kills)
//	owner and keeper    spare (kills, removes)
//	owner and spare     keeper (kills, removes)
//	keeper and spare    owner (kills)
//	all three           the kernel, the child alone: it has PR_SET_PDEATHSIG from
//	                    the keeper. Directories: [Sweep], by the next process
//
// Spare and keeper are subreapers (PR_SET_CHILD_SUBREAPER), so a descendant that
// makes itself a daemon becomes their child again instead of escaping to pid 1.
// What remains out of reach is a grandchild after kill -9 of all three at once;
// only a pid namespace would help there, and unprivileged ones are not to be had
// everywhere.
//
// PR_SET_PDEATHSIG fires when the thread that forked ends, not the process
// (golang.org/issue/27505). It is used by the keeper only, which forks from its
// main thread and never lets go of it.
//
// Both run in a session of their own, out of reach of a terminal's Ctrl-C and
// hang-up, and they survive SIGINT, SIGTERM and SIGHUP sent by hand: when the
// child ends is the owner's decision. The child gets the default actions.
//
// # What a program that imports this package must know
//
// The spare and the keeper never reach main, nor TestMain: this package's init
// function does their work and exits. Package initialisation comes in import
// order, and among packages that are ready, by import path; the init functions
// of packages that sort before this one therefore run in the guards too. They
// must do nothing visible and little work, which is good manners anyway.
package guard
