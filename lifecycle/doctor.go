package lifecycle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		remedy := "make it a directory of your own with mode 0700 (chmod 700), or set " + envRuntimeDir
		return []Check{failed("runtime directory", remedy, "%v", err)}
	}
	checks := []Check{
		passed("runtime directory", "%s is this user's alone", root),
		checkRegistry(root),
		checkSocketPath(root),
		checkLeftovers(root),
		checkLocks(root),
	}
	return append(checks, diagnoseSystem(root)...)
}

func checkRegistry(root string) Check {
	const name = "registry"
	registry, err := OpenRegistry(root)
	if err != nil {
		return failed(name, "chmod 700 "+filepath.Join(root, registryName), "%v", err)
	}
	records, err := registry.Records()
	if err != nil {
		return failed(name, "make "+registry.dir+" readable for yourself (chmod 700)", "%v", err)
	}
	return passed(name, "%s", count(len(records), "shared name"))
}

func checkSocketPath(root string) Check {
	const name = "socket path"
	length := socketPathLength(root)
	if length <= maxSocketPath {
		return passed(name, "%d of at most %d bytes", length, maxSocketPath)
	}
	short, err := instanceRoot(root)
	if err != nil {
		return failed(name, "set "+envRuntimeDir+" to a shorter path", "%v", err)
	}
	return warned(name, "set "+envRuntimeDir+" to a shorter path",
		"%d bytes, over the limit of %d: instances are in %s instead", length, maxSocketPath, short)
}

// checkLeftovers sweeps. What it cannot remove another start may, or a second sweep: one looks at some directories only.
func checkLeftovers(root string) Check {
	const name = "leftovers"
	removed, err := Sweep(root)
	if err != nil {
		return failed(name, "make everything in "+root+" your own", "%v", err)
	}
	stale, err := leftovers(root)
	if err != nil {
		return failed(name, "make everything in "+root+" your own", "%v", err)
	}
	if len(stale) > 0 {
		return warned(name, "run this again; if they stay, remove them",
			"swept %d, and could not sweep %s", len(removed), strings.Join(stale, ", "))
	}
	if len(removed) == 0 {
		return passed(name, "none")
	}
	return passed(name, "swept %s", strings.Join(removed, ", "))
}

// leftovers returns the directories of instances that nobody cares for.
func leftovers(root string) ([]string, error) {
	list, err := Instances(root)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, i := range list {
		if !i.Alive {
			stale = append(stale, i.Dir)
		}
	}
	return stale, nil
}

// checkLocks sees whether a lock keeps a second one away, which is what all agreement between programs rests on.
func checkLocks(root string) Check {
	const name, remedy = "locks", "use a runtime directory on a local file system"
	first, err := os.CreateTemp(root, ".doctor-")
	if err != nil {
		return failed(name, "make room and give yourself the right to write in "+root, "%v", err)
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
