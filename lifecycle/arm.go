package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// arm is the worker's first act. Its order matters: the lock first, so that no sweeper takes the instance for a leftover;
// then the owner watch; then the kernel's guard of the start phase can be called off, since from here on the process
// leaves by itself; then what must not leak, before the program could open or start anything.
func arm(dir string) (*Worker, error) {
	id := filepath.Base(dir)
	os.Unsetenv(envInstance)
	os.Setenv(envWorker, id)
	lock, err := lockShared(dir)
	if err != nil {
		closeInherited()
		return nil, launchError(dir, err)
	}
	l, err := readLaunch(dir)
	if err != nil {
		closeInherited()
		lock.Close()
		return nil, launchError(dir, err)
	}
	w := newWorker(dir, l)
	w.lock = lock
	w.armWith(l)
	return w, nil
}

func (w *Worker) armWith(l *launch) {
	var owner *ownerWatch
	var err error
	if w.HasOwner {
		owner, err = watchIdentity(l.Owner, l.OwnerFD)
		w.OwnerUnseen = errors.Is(err, errUnseen)
	}
	if errors.Is(err, ErrOwnerGone) {
		close(w.ownerGone)
		w.Exit(0)
	}
	if l.Shared != nil {
		w.share(l.Shared)
	}
	callOff()
	closeInherited()
	w.adopt()
	if owner != nil {
		go w.watchOwner(owner) // like those below it ends with the process
	}
	if file := inheritedSpool(l.Spool); file != nil {
		w.spool = newSpool(file, w.watchedDirs(), w.recheck)
		go w.spool.tend()
	}
	if err := w.limit(); err != nil {
		_ = w.EntryWriter().WriteEntry(&Entry{Time: time.Now(), Level: "error", Message: err.Error()}) // the status says so as well
		w.Exit(2)
	}
}

func newWorker(dir string, l *launch) *Worker {
	return &Worker{
		Name: l.Name, ID: filepath.Base(dir), Dir: dir, Socket: filepath.Join(dir, socketName), Secret: l.Secret,
		Build: l.Build, IdleTimeout: l.IdleTimeout, MaxLifetime: l.MaxLifetime, Grace: l.Grace, LogLevel: l.LogLevel, Limits: l.Limits,
		Self: l.Self, HasOwner: l.Owner.Pid != 0, config: l.Config, ownerGone: make(chan struct{}),
		displaced: make(chan struct{}),
	}
}

func launchError(dir string, err error) error {
	return fmt.Errorf("use instance directory %s: %w", dir, err)
}
