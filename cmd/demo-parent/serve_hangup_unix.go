//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyHangup has c told of each SIGHUP.
func notifyHangup(c chan<- os.Signal) { signal.Notify(c, syscall.SIGHUP) }
