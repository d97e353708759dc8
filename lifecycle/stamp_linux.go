package lifecycle

import (
	"os"

	"golang.org/x/sys/unix"
)

// stampPath returns the stamp of the file at path, zero if it cannot be had.
func stampPath(path string) stamp {
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil {
		return stamp{}
	}
	return stampFrom(&s)
}

func stampOf(f *os.File) stamp {
	var s unix.Stat_t
	if unix.Fstat(int(f.Fd()), &s) != nil {
		return stamp{}
	}
	return stampFrom(&s)
}

func stampFrom(s *unix.Stat_t) stamp {
	id := fileID{Dev: uint64(s.Dev), Ino: s.Ino} //nolint:unconvert // the type differs between architectures
	return stamp{fileID: id, Size: s.Size, Mtime: s.Mtim.Nano(), Change: s.Ctim.Nano()}
}
