package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSocketPath is the longest path of a Unix socket, in bytes.
var maxSocketPath = 107

// shortDir lies in the user's profile, which only that user can write to.
func shortDir() string {
	if dir := os.Getenv("LOCALAPPDATA"); dir != "" {
		return filepath.Join(dir, "unref")
	}
	return filepath.Join(os.TempDir(), "unref")
}

// checkOwned checks only that path is a real directory: access on Windows is what the directory inherits.
func checkOwned(path string, _ fs.FileMode) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("is not a directory")
	}
	return nil
}
