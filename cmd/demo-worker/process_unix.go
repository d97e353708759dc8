//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// ownSession has a process start in a session of its own.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// stopSelf stops this process, and returns when somebody has continued it.
func stopSelf() error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop the process: %w", err)
	}
	return nil
}
