package main

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// alive reports whether there is a process with this pid. One that has ended and that nobody has waited for yet is none.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state follows the name, which is in parentheses and can hold any bytes.
	_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return len(state) > 0 && state[0] != 'Z' && state[0] != 'X'
}

// ownSession reports whether a process leads a session, if that can be known.
func ownSession(pid int) (own, known bool) {
	id, err := unix.Getsid(pid)
	return id == pid, err == nil
}

// sharedFiles returns which of this process's standard files another process holds, if that can be known. The null
// device is nobody's.
func sharedFiles(pid int) (shared []string, known bool) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false
	}
	held := make(map[string]bool)
	for _, entry := range entries {
		if target, err := os.Readlink(dir + "/" + entry.Name()); err == nil && target != os.DevNull {
			held[target] = true
		}
	}
	for fd, name := range []string{"standard input", "standard output", "standard error"} {
		if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && held[target] {
			shared = append(shared, name)
		}
	}
	return shared, true
}
