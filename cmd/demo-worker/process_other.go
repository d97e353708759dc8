//go:build !unix

package main

import (
	"errors"
	"fmt"
	"syscall"
)

// ownSession has a process start like any other: there are no sessions.
func ownSession() *syscall.SysProcAttr { return nil }

// stopSelf does nothing where processes can't be stopped.
func stopSelf() error { return fmt.Errorf("stop the process: %w", errors.ErrUnsupported) }
