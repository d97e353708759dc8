package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrNotProven means that a process is not known to be the worker's: it may be another one that got its pid. Such a process
// is never signalled.
var ErrNotProven = errors.New("the process is not known to be the worker's")

// found is a worker's process that another process started.
type found struct {
	id identity

	mu       sync.Mutex  // protects what follows
	gone     *ownerWatch // nil while nobody waits for the process's end
	watching bool        // somebody waits for it, or it is known
	over     bool        // it is known
	waiters  int         // who must not be let down by Release
	released bool        // Release came while there were any
}

// Open returns the worker's process. output is the file of its output, nil if it is not known; it then belongs to the
// Process. Whether the process still is the worker's is looked at when that matters, before each signal and before its end
// is waited for.
func (r *Record) Open(output *os.File) *Process {
	p := openFound(r.Address, r.Process, r.Program, r.Started, output)
	p.limits = r.Fingerprint.Limits
	return p
}

// OpenProcess is like [Record.Open] for a worker that has said itself that pid is its own.
func OpenProcess(addr Address, pid int, output *os.File) *Process {
	id, err := identify(pid)
	if err != nil {
		id = identity{Pid: pid}
	}
	p := openFound(addr, id, "", time.Now(), output)
	if l, err := readLaunch(addr.Dir); err == nil {
		p.limits = l.Limits
	}
	return p
}

func openFound(addr Address, id identity, program string, started time.Time, output *os.File) *Process {
	p := newProcess(addr, program, output, started)
	p.grace, p.found = defaultGrace, &found{id: id}
	p.Ready()
	return p
}

// target returns the handle through which the process may be signalled.
func (p *Process) target() (*os.Process, error) {
	if p.found == nil {
		return p.cmd.Process, nil
	}
	return p.found.prove(p.addr.ID)
}

// prove opens the process once it is known to be the instance's. It does so each time: without a pidfd what is opened is no
// more than a pid.
func (f *found) prove(id string) (*os.Process, error) {
	if f.id.Start == "" {
		return nil, fmt.Errorf("pid %d: %w", f.id.Pid, ErrNotProven)
	}
	watch, err := watchIdentity(f.id, 0)
	if errors.Is(err, ErrOwnerGone) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("pid %d: %w", f.id.Pid, err)
	}
	defer watch.close()
	handle, err := os.FindProcess(f.id.Pid)
	if err != nil {
		return nil, err
	}
	proven := belongs(f.id.Pid, id)
	exiting := !proven && isExiting(f.id.Pid)
	// As long as the process that was opened first lives its pid names no other.
	if exiting || !watch.alive() {
		return nil, os.ErrProcessDone
	}
	if !proven {
		return nil, fmt.Errorf("pid %d: %w", f.id.Pid, ErrNotProven)
	}
	return handle, nil
}

// hold keeps Release from ending the watch until the function that it returns is called.
func (f *found) hold() (letGo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiters++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.waiters--; f.waiters == 0 && f.released {
			f.release()
		}
	}
}

// watch has the end of p noticed from now on.
func (f *found) watch(p *Process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watching {
		return
	}
	gone, err := watchIdentity(f.id, 0)
	if err != nil && !errors.Is(err, ErrOwnerGone) {
		return // it cannot be seen from here
	}
	f.gone, f.watching = gone, true
	go p.watchFound(gone) // ends with the process, or with Release
}

// watchFound is what watch is for a process that was started. gone is nil if the process is.
func (p *Process) watchFound(gone *ownerWatch) {
	code, sig := -1, unknownSignal
	if gone != nil {
		gone.wait()
		if !p.found.settle(gone) {
			return
		}
		code, sig = gone.status()
		gone.close()
	}
	close(p.reaped)
	cleanUpFound(p.addr)
	p.err = p.exitError(code, sig, time.Since(p.started), false)
	close(p.done)
}

// settle notes that the process has ended, and is false if the watch was stopped instead.
func (f *found) settle(gone *ownerWatch) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = f.gone == gone
	return f.over
}

// Release stops waiting for the end of a process that was found, until somebody asks for Done again. It does nothing to a
// process that was started.
func (p *Process) Release() {
	if p.found == nil {
		return
	}
	p.found.mu.Lock()
	defer p.found.mu.Unlock()
	if p.found.waiters > 0 {
		p.found.released = true
		return
	}
	p.found.release()
}

// release ends the watch; mu is held.
func (f *found) release() {
	f.released = false
	if f.gone == nil || f.over {
		return
	}
	f.gone.close()
	f.gone, f.watching = nil, false
}

// cleanUpFound removes what the worker left behind, unless somebody else still cares for it.
func cleanUpFound(addr Address) {
	if filepath.Base(addr.Dir) != addr.ID || !isID(addr.ID) {
		return // nobody made such an instance
	}
	lock, ok := lockExclusive(addr.Dir)
	if !ok {
		return
	}
	killMarked(map[string]bool{addr.ID: true})
	(&instance{root: filepath.Dir(addr.Dir), id: addr.ID, dir: addr.Dir, lock: lock}).remove()
}

// noOutput is the output of a process of which it is not known.
type noOutput struct{}

func (noOutput) ReadAt([]byte, int64) (int, error) { return 0, os.ErrInvalid }
func (noOutput) Size() (int64, error)              { return 0, nil }
func (noOutput) Data(off int64) int64              { return off }
