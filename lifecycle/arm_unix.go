//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import "golang.org/x/sys/unix"

// inheritedMax is how far inherited descriptors are looked for where they cannot be listed.
const inheritedMax = 16 << 10

func inheritedLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || uint64(limit.Cur) > inheritedMax {
		return inheritedMax
	}
	return int(limit.Cur)
}

func closeInheritedUpTo(limit int) {
	for fd := 3; fd < limit; fd++ {
		closeIfInherited(fd)
	}
}

func closeIfInherited(fd int) {
	if fd < 3 {
		return
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
		unix.Close(fd)
	}
}
