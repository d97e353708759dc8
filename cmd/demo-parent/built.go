package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// sourceState is what the source of the worker looks like: as long as that is the same, what was built from it is not
// built again. To ask the go command would take longer than a warm check.
type sourceState struct {
	sum    string    // empty if the state can't be told
	newest time.Time // change of a file
	seen   time.Time
}

// recent is how old the last change of a file has to be for its time to tell whether there was another one since.
const recent = 2 * time.Second

// newState looks at the source, which is a directory, or a package with its version, which never changes.
func newState(from string) sourceState {
	s := sourceState{seen: time.Now()}
	h := sha256.New()
	h.Write([]byte(from + " " + runtime.Version() + "\n"))
	if filepath.IsAbs(from) && s.addModule(h, filepath.Dir(filepath.Dir(from))) != nil {
		return s
	}
	s.sum = hex.EncodeToString(h.Sum(nil))
	return s
}

// addModule adds the names, sizes and times of all files of a module that programs are built from.
func (s *sourceState) addModule(h hash.Hash, module string) error {
	return filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(module, path, d.Name())
		case !isSource(d.Name()):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.ModTime().After(s.newest) {
			s.newest = info.ModTime()
		}
		_, err = fmt.Fprintln(h, path, info.Size(), info.ModTime().UnixNano())
		return err
	})
}

// enter returns [fs.SkipDir] for directories in which there is no source of the module.
func enter(module, path, name string) error {
	if path == module {
		return nil
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || hidden(name) {
		return fs.SkipDir
	}
	return nil
}

// isSource reports whether a file of this name is part of what programs are built from.
func isSource(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") || name == "go.mod" || name == "go.sum"
}

// stateSuffix is that of the file beside a program that says what it was built from.
const stateSuffix = ".state"

// isOf reports whether a program was built from source in this state.
func (s sourceState) isOf(path string) bool {
	kept, err := os.ReadFile(path + stateSuffix)
	if err != nil || s.sum == "" || string(kept) != s.sum {
		return false
	}
	_, err = os.Stat(path)
	return err == nil
}

// keep notes that a program was built from source in this state, unless a file may have changed since without showing it.
func (s sourceState) keep(path string) error {
	if s.sum == "" || s.seen.Sub(s.newest) < recent {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "state*.tmp")
	if err != nil {
		return err
	}
	_, err = temp.WriteString(s.sum)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), path+stateSuffix)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // the first error is the one that tells
	}
	return err
}
