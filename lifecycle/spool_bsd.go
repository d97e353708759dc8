//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import "os"

// createSpool returns an unlinked file in dir that can be read and appended to.
func createSpool(dir string) (*os.File, error) { return createUnlinked(dir) }
