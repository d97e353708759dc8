//go:build !windows

package lifecycle

import (
	"os"
	"syscall"
)

func terminate(process *os.Process) error { return process.Signal(syscall.SIGTERM) }

// quit also lets a process that is stopped go on, or it would not hear the signal.
func quit(process *os.Process) error {
	if err := process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	return process.Signal(syscall.SIGCONT)
}

// killedByUs is whether a process that was killed for a reason really died of it.
func killedByUs(sig syscall.Signal, _ int) bool { return sig == syscall.SIGKILL }
