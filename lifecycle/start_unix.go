//go:build !windows

package lifecycle

import (
	"os"
	"syscall"
)

func terminate(process *os.Process) error { return process.Signal(syscall.SIGTERM) }

func quit(process *os.Process) error { return process.Signal(syscall.SIGQUIT) }

// killedByUs is whether a process that was killed for a reason really died of it.
func killedByUs(sig syscall.Signal, _ int) bool { return sig == syscall.SIGKILL }
