package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/detached-workers/unref/lifecycle"
)

// namePrefix begins the names of all workers that this program shares with later runs of itself.
const namePrefix = "demo-parent check "

// slotMark stands between the name of a directory's workers and the number of the slot.
const slotMark = " #"

// groupName returns the name that the workers of a module have in common. Those of different directories have different
// names, so that they do not replace each other.
func groupName(module string) string {
	name := namePrefix + module
	if lifecycle.CheckSharedName(slotName(name, 1000)) == nil {
		return name
	}
	return fmt.Sprintf("%ssha256:%x", namePrefix, sha256.Sum256([]byte(module)))
}

// slotName returns the name of one worker of a group. Numbers begin with 1.
func slotName(group string, number int) string { return group + slotMark + strconv.Itoa(number) }

// groupOf returns the group that a worker belongs to, empty if it is none of ours.
func groupOf(name string) string {
	i := strings.LastIndex(name, slotMark)
	if i < 0 || !strings.HasPrefix(name, namePrefix) {
		return ""
	}
	if _, err := strconv.Atoi(name[i+len(slotMark):]); err != nil {
		return ""
	}
	return name[:i]
}

// moduleDir returns the directory of the module that dir is in, and dir itself if it is in none, with symbolic links
// resolved: whatever way leads to a module, its workers are the same.
func moduleDir(dir string) string {
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	for at := dir; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(at, "go.mod")); err == nil && info.Mode().IsRegular() {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}
