//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package lifecycle

import (
	"os"
	"time"
)

// unsupportedLimits are the fields of Limits that cannot be set here.
var unsupportedLimits = []string{"Memory", "CPU", "OpenFiles", "Nice"}

// applyField has nothing to apply: Start has refused what is not the Go runtime's.
func (l Limits) applyField(string, time.Duration) error { return nil }

func (l Limits) spend() {}

func filesAreOut() bool { return false }

func cpuSignal() <-chan os.Signal { return nil }
