package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// treeWait bounds how long descendants are killed again: what is still there then cannot be killed.
	treeWait = 2 * time.Second
	// treePause is the time between two looks at what is left.
	treePause = time.Millisecond
)

// killTree stops the process, so that it starts nothing more, kills everything below it, and then the process.
func killTree(root *os.Process, id string) {
	if root.Signal(syscall.SIGSTOP) != nil {
		return
	}
	killBelow(root.Pid, id, func() bool { return root.Signal(syscall.Signal(0)) == nil })
	_ = root.Signal(syscall.SIGKILL)
}

// killBelow kills every descendant of the process until none but zombies are left. It spares other workers.
func killBelow(pid int, id string, alive func() bool) {
	for end := time.Now().Add(treeWait); killChildren(pid, id, alive) && time.Now().Before(end); {
		time.Sleep(treePause)
	}
}

// killChildren kills the living descendants that it finds, and returns whether there were any. alive says that pid still
// belongs to the process that is meant.
func killChildren(pid int, id string, alive func() bool) (found bool) {
	for _, child := range children(pid) {
		if killChild(child, pid, id, alive) {
			found = true
		}
	}
	return found
}

func killChild(pid, parent int, id string, parentAlive func() bool) (found bool) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer process.Release()
	alive := func() bool { return process.Signal(syscall.Signal(0)) == nil }
	// What was read between opening and a sign of life is about the process that was opened.
	stat, err := readStat(pid)
	if err != nil || stat.parent != parent || isZombie(pid) || isOtherWorker(pid, id) || !alive() || !parentAlive() {
		return false
	}
	killChildren(pid, id, alive)
	_ = process.Signal(syscall.SIGKILL)
	return true
}

// children returns the pids of the process's children. It may miss some that come and go meanwhile.
func children(pid int) []int {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, thread := range threads {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat("/proc/thread-self/children"); err != nil {
				return childrenByParent(pid) // the kernel was built without these files
			}
		}
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

func childrenByParent(parent int) []int {
	var pids []int
	for _, pid := range processes() {
		if stat, err := readStat(pid); err == nil && stat.parent == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mark is what a process's first environment says about where it belongs: to an instance as its worker, or to one as
// something below its worker.
type mark struct {
	id     string
	worker bool
}

// readMark reads the environment that the process was started with; a worker's own changes to it do not show there.
func readMark(pid int) mark {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return mark{}
	}
	var m mark
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if dir, ok := bytes.CutPrefix(kv, []byte(envInstance+"=")); ok {
			return mark{id: filepath.Base(string(dir)), worker: true}
		}
		if id, ok := bytes.CutPrefix(kv, []byte(envWorker+"=")); ok {
			m.id = string(id)
		}
	}
	return m
}

// isOtherWorker is whether the process belongs to a worker with a life of its own.
func isOtherWorker(pid int, id string) bool {
	m := readMark(pid)
	return m.worker && m.id != id
}

// killMarked kills the processes of this user that carry the marks of these instances, until there are none.
func killMarked(ids map[string]bool) {
	for end := time.Now().Add(treeWait); killMarkedOnce(ids) && time.Now().Before(end); {
		time.Sleep(treePause)
	}
}

func killMarkedOnce(ids map[string]bool) (found bool) {
	for _, pid := range processes() {
		if pid != os.Getpid() && isOurs(pid) && ids[readMark(pid).id] && killIfMarked(pid, ids) {
			found = true
		}
	}
	return found
}

func isOurs(pid int) bool {
	info, err := os.Lstat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// killIfMarked looks again while it holds the process, and then kills it.
func killIfMarked(pid int, ids map[string]bool) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer process.Release()
	if !ids[readMark(pid).id] || isZombie(pid) {
		return false
	}
	return process.Signal(syscall.SIGKILL) == nil
}

// killChildren ends everything below this process. Most workers never have children: then it costs next to nothing.
func (w *Worker) killChildren() {
	holdForks()
	if !w.parent.Load() && !hasChildren() {
		return
	}
	killBelow(os.Getpid(), w.ID, func() bool { return true })
	killMarked(map[string]bool{w.ID: true})
}

// hasChildren is whether this process has children, dead or alive, that nobody has waited for.
func hasChildren() bool {
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != unix.ECHILD
}

// forkWait bounds the wait for a fork in progress.
const forkWait = 100 * time.Millisecond

// holdForks keeps the rest of the program from starting anything more, for good.
func holdForks() {
	for end := time.Now().Add(forkWait); !syscall.ForkLock.TryLock() && time.Now().Before(end); {
		time.Sleep(treePause)
	}
}
