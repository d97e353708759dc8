package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CheckStatus is how a [Check] went.
type CheckStatus string

// The outcomes of a check.
const (
	CheckOK   CheckStatus = "ok"   // all is as it should be
	CheckWarn CheckStatus = "warn" // workers run, with less than they could have
	CheckFail CheckStatus = "fail" // workers can't be started or found
)

// Check is one thing that workers need of the system, and whether they have it.
type Check struct {
	Name   string      `json:"name"`
	Status CheckStatus `json:"status"`
	Detail string      `json:"detail"`           // what was found
	Remedy string      `json:"remedy,omitempty"` // what to do about it, empty if nothing has to be done
}

func passed(name, format string, args ...any) Check {
	return Check{Name: name, Status: CheckOK, Detail: fmt.Sprintf(format, args...)}
}

func warned(name, remedy, format string, args ...any) Check {
	return Check{Name: name, Status: CheckWarn, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

func failed(name, remedy, format string, args ...any) Check {
	return Check{Name: name, Status: CheckFail, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Diagnose looks at what workers in a runtime directory (with the default of [RuntimeDir]) need of it and of the system.
// It makes the directory if there is none, as a start would, and sweeps it; see [Sweep]. Without a directory that can be
// used that is the only check. It asks no worker anything.
func Diagnose(runtimeDir string) []Check {
	root, err := RuntimeDir(runtimeDir)
	if err != nil {
		return []Check{failed("runtime directory", remedyFor(root, err), "%s", trouble(root, err))}
	}
	leftovers := checkLeftovers(root) // before the registry is counted
	checks := []Check{
		passed("runtime directory", "%s is this user's alone", root),
		checkRegistry(root),
		checkSocketPath(root),
		leftovers,
		checkLocks(root),
	}
	return append(checks, diagnoseSystem(root)...)
}

// trouble says why a directory of this package's can't be used, and leaves out what to do about it.
func trouble(dir string, err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Error()
	}
	if cause := errors.Unwrap(err); cause != nil && dir != "" {
		return dir + " " + cause.Error()
	}
	return err.Error()
}

const anotherDir = "set " + envRuntimeDir + " to another directory"

// remedyFor says what to do about a path that can't be made or used, whose directory has to be this user's alone.
func remedyFor(path string, err error) string {
	info, statErr := os.Lstat(path)
	there := statErr == nil
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free space there, or " + anotherDir
	case errors.Is(err, syscall.EROFS):
		return anotherDir + " on a file system that can be written to"
	case errors.Is(err, syscall.ENOTDIR):
		return "remove the file that stands where a directory above has to be, or " + anotherDir
	case there && info.Mode()&fs.ModeSymlink != 0:
		return "remove the link, or " + anotherDir
	case there && !info.IsDir():
		return "remove the file, or " + anotherDir
	case there && checkOwned(path, 0) != nil:
		return anotherDir + ", of your own"
	case there:
		return "chmod 700 " + path
	case errors.Is(err, fs.ErrPermission):
		return "give yourself the right to write in " + filepath.Dir(path) + " (chmod u+rwx), or " + anotherDir
	}
	return anotherDir
}

func checkRegistry(root string) Check {
	const name = "registry"
	dir := filepath.Join(root, registryName)
	registry, err := OpenRegistry(root)
	if err != nil {
		return failed(name, remedyFor(dir, err), "%s", trouble(dir, err))
	}
	records, err := registry.Records()
	if err != nil {
		return failed(name, remedyFor(dir, err), "%v", err)
	}
	return passed(name, "%s", count(len(records), "shared name"))
}

func checkSocketPath(root string) Check {
	const name, remedy = "socket path", "set " + envRuntimeDir + " to a shorter path"
	length := socketPathLength(root)
	if length <= maxSocketPath {
		return passed(name, "%d of at most %d bytes", length, maxSocketPath)
	}
	short := fallbackDir()
	if n := socketPathLength(short); n > maxSocketPath {
		return failed(name, remedy, "%d bytes, over the limit of %d, as are the %d in %s", length, maxSocketPath, n, short)
	}
	if err := makePrivate(short); err != nil {
		return failed(name, remedy+"; else "+remedyFor(short, err),
			"%d bytes, over the limit of %d, and nothing can be put elsewhere: %s", length, maxSocketPath, trouble(short, err))
	}
	return warned(name, remedy, "%d bytes, over the limit of %d: instances are in %s instead", length, maxSocketPath, short)
}

// checkLeftovers sweeps. What it cannot remove another start may, or a second sweep.
func checkLeftovers(root string) Check {
	const name = "leftovers"
	removed, stale, err := sweepAll(root)
	swept := "none"
	if len(removed) > 0 {
		swept = "swept " + strings.Join(removed, ", ")
	}
	if _, registryErr := OpenRegistry(root); registryErr != nil {
		return warned(name, "repair the registry, and run this again", "%s, and names of workers that are gone were not looked for", swept)
	}
	switch {
	case err != nil:
		return failed(name, "make everything in "+root+" your own", "%v", err)
	case len(stale) > 0:
		return warned(name, "run this again; if they stay, remove them", "swept %d, and could not sweep %s",
			len(removed), strings.Join(stale, ", "))
	}
	return passed(name, "%s", swept)
}

// sweepAll sweeps until nothing more comes of it, since one sweep looks at some directories only. It returns the ids and
// names of what was removed, and the directories that nobody cares for and that are still there.
func sweepAll(root string) (removed, stale []string, err error) {
	for {
		before, err := leftovers(root)
		if err != nil {
			return removed, nil, err
		}
		swept, err := Sweep(root)
		if err != nil {
			return append(removed, swept...), nil, err
		}
		if stale, err = leftovers(root); err != nil {
			return removed, nil, err
		}
		removed = append(removed, swept...)
		if len(stale) == 0 || len(stale) >= len(before) {
			return removed, stale, nil
		}
	}
}

// leftovers returns the directories of instances that nobody cares for, whatever is in them.
func leftovers(root string) ([]string, error) {
	places, err := roots(root)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, place := range places {
		entries, err := os.ReadDir(place)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			dir := filepath.Join(place, entry.Name())
			if !entry.IsDir() || !isID(entry.Name()) || entry.Name() == Inside() {
				continue
			}
			if isAbandoned(dir) {
				stale = append(stale, dir)
			}
		}
	}
	return stale, nil
}

// checkLocks sees whether a lock keeps a second one away, which is what all agreement between programs rests on.
func checkLocks(root string) Check {
	const name, remedy = "locks", "use a runtime directory on a local file system"
	first, err := os.CreateTemp(root, ".doctor-")
	if err != nil {
		return failed(name, remedyFor(filepath.Join(root, "*"), err), "%v", err)
	}
	defer os.Remove(first.Name())
	defer first.Close()
	second, err := os.OpenFile(first.Name(), os.O_RDWR, 0)
	if err != nil {
		return failed(name, remedy, "%v", err)
	}
	defer second.Close()
	switch {
	case !tryLock(first):
		return failed(name, remedy, "files in %s can't be locked", root)
	case tryLock(second):
		return failed(name, remedy, "a locked file in %s can be locked once more", root)
	}
	return passed(name, "a file that is locked cannot be locked by somebody else")
}

// count says how many there are of a thing.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
