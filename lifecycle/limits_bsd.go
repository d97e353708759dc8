//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import "golang.org/x/sys/unix"

// unsupportedLimits are the fields of Limits that mean nothing here: what Go maps does not count as data on most of these.
var unsupportedLimits = []string{"Memory"}

func setNice(nice int) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, nice) }
