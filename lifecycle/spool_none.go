//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package lifecycle

import (
	"os"
	"path/filepath"
)

// createSpool returns a file in dir that can be read and appended to. It keeps its name until the instance is removed,
// because an open file cannot be unlinked everywhere.
func createSpool(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "spool"), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
}

// fileIdentity is not needed here: there is no wrapper that redirects output without being asked to.
func fileIdentity(*os.File) fileID { return fileID{} }

func inheritedSpool(fileID) *os.File { return os.Stderr }

func fileSizeLimit() int64 { return spoolSizeLimit }
