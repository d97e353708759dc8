//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func createUnlinked(dir string) (*os.File, error) {
	path := filepath.Join(dir, "spool")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func fileIdentity(f *os.File) fileID {
	var stat unix.Stat_t
	if unix.Fstat(int(f.Fd()), &stat) != nil {
		return fileID{}
	}
	return fileID{Dev: uint64(stat.Dev), Ino: uint64(stat.Ino)} //nolint:unconvert // the types differ between systems
}

// inheritedSpool returns a copy of standard error or standard output, whichever is the spool. It is nil if neither is: what
// a wrapper redirected them to is not to be touched.
func inheritedSpool(id fileID) *os.File {
	for _, std := range []int{2, 1} {
		fd, err := unix.FcntlInt(uintptr(std), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(fd), "spool")
		if fileIdentity(f) == id && id != (fileID{}) {
			return f
		}
		f.Close()
	}
	return nil
}

// fileSizeLimit keeps a spool well below RLIMIT_FSIZE, which counts what was dropped as well.
func fileSizeLimit() int64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &limit) != nil || uint64(limit.Cur)/2 > spoolSizeLimit {
		return spoolSizeLimit
	}
	return int64(limit.Cur / 2)
}
