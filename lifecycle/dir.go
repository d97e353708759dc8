package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	envRuntimeDir = "UNREF_RUNTIME_DIR"
	idLength      = 16
	// socketTemp is the longest name in an instance directory: the socket before it is renamed.
	socketTemp = "s.tmp"
)

// fallbackDir returns the short directory for sockets whose path would be too long. A variable, so that tests need not
// touch the one that everybody uses.
var fallbackDir = shortDir

// RuntimeDir returns the absolute path of the directory that holds instance directories, and creates it if need be. It is
// dir; or if that is empty $UNREF_RUNTIME_DIR; or $XDG_RUNTIME_DIR/unref if that belongs to this user; or
// /tmp/unref-UID (on Windows %LOCALAPPDATA%\unref). It does not follow TMPDIR, so that all programs of a user agree on
// it. A directory that somebody else could write to, read or have made is refused.
func RuntimeDir(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv(envRuntimeDir)
	}
	if dir == "" {
		dir = defaultDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	return dir, makePrivate(dir)
}

func defaultDir() string {
	if xdg := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(xdg) && checkOwned(xdg, 0o022) == nil {
		return filepath.Join(xdg, "unref")
	}
	return shortDir()
}

// instanceRoot returns the runtime directory and the directory for a new instance: the same, or the short fallback if the
// path of a socket in it would be too long.
func instanceRoot(dir string) (runtimeDir, root string, err error) {
	runtimeDir, err = RuntimeDir(dir)
	if err != nil {
		return "", "", err
	}
	length := socketPathLength(runtimeDir)
	if length <= maxSocketPath {
		return runtimeDir, runtimeDir, nil
	}
	short := fallbackDir()
	if n := socketPathLength(short); n > maxSocketPath {
		err = fmt.Errorf("that in the fallback %s has %d", short, n)
	} else {
		err = makePrivate(short)
	}
	if err != nil {
		return "", "", fmt.Errorf("%w: a socket in runtime directory %s needs a path of %d bytes, the limit is %d; use a shorter one (%s), or repair the fallback: %w",
			ErrPathTooLong, runtimeDir, length, maxSocketPath, envRuntimeDir, err)
	}
	return runtimeDir, short, nil
}

func socketPathLength(root string) int {
	return len(root) + 1 + idLength + 1 + len(socketTemp)
}

// makePrivate creates the directory or checks the one that is there. It never changes one that it did not make.
func makePrivate(dir string) error {
	err := makeOnce(dir)
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed it in the meantime
		err = makeOnce(dir)
	}
	return err
}

func makeOnce(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("runtime directory: %w", err)
	}
	if err := checkOwned(dir, 0o077); err != nil {
		return fmt.Errorf("runtime directory %s %w; remove it, repair it (chmod 700), or name another one in %s", dir, err, envRuntimeDir)
	}
	return nil
}
