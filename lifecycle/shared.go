package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/detached-workers/unref/internal/failpoint"
)

// Start starts the command as the shared worker of the claimed name and returns as soon as its process runs, like
// [Command.Start]. The worker has no owner and an idle timeout of 10 minutes unless the command says otherwise, leaves when
// this process ends before the worker was published, and is still this process's to stop if it does not get ready.
func (c *Claim) Start(ctx context.Context, cmd *Command) (*Process, error) {
	shared := *cmd
	if shared.Owner == (Owner{}) {
		shared.Owner = NoOwner()
	}
	if shared.IdleTimeout == 0 {
		shared.IdleTimeout = sharedIdleTimeout
	}
	s, err := c.sharing(cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.label(), err)
	}
	return shared.startAs(ctx, s)
}

func (c *Claim) sharing(cmd *Command) (*sharing, error) {
	starter, err := identify(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("identify this process: %w", err)
	}
	s := &sharing{Name: c.name, Generation: 1, Registry: c.registry.dir, Starter: starter, DrainTimeout: cmd.drainTimeout()}
	rec, err := c.Record()
	if rec != nil {
		s.Generation = rec.Generation + 1
	}
	return s, err
}

func (c *Command) drainTimeout() time.Duration {
	if c.DrainTimeout == 0 {
		return defaultDrainTimeout
	}
	return max(c.DrainTimeout, 0)
}

// Record returns a record to publish of a worker that [Claim.Start] has started and that has said that pid is its own.
func (p *Process) Record(pid int, f *Fingerprint) (*Record, error) {
	id, err := identify(pid)
	if err != nil {
		return nil, fmt.Errorf("identify worker %s (pid %d): %w", p.Name(), pid, err)
	}
	return &Record{
		Address: p.addr, Generation: p.shared.Generation, Program: p.program, Started: p.started, Fingerprint: *f, Stamp: f.stamp,
		Process: id,
	}, nil
}

// share makes this process a shared worker. Until the registry names it, it belongs to its starter.
func (w *Worker) share(s *sharing) {
	w.SharedName, w.DrainTimeout, w.generation = s.Name, s.DrainTimeout, s.Generation
	w.registry = &Registry{s.Registry}
	defer failpoint.Here(failpoint.Armed)
	starter, err := watchIdentity(s.Starter, 0)
	switch {
	case errors.Is(err, ErrOwnerGone):
		w.starterGone()
	case err == nil:
		go w.watchStarter(starter) // ends with the process
	}
}

func (w *Worker) watchStarter(starter *ownerWatch) {
	starter.wait()
	starter.close()
	w.starterGone()
}

// starterGone ends a worker that nobody can find. The dead starter has either published it by now or never will.
func (w *Worker) starterGone() {
	w.CheckName()
	if !w.published.Load() {
		w.setDisplaced("the program that started it ended before others could find it")
	}
}

// CheckName looks whether clients still find this worker under its name, and if not has that known through
// [Worker.Displaced]. A record of an earlier generation is that of the worker that this one is about to replace.
func (w *Worker) CheckName() {
	if w.registry == nil {
		return
	}
	// One look at a time: what one has read before the name was this worker's must not be judged by what another knows since.
	w.checking.Lock()
	defer w.checking.Unlock()
	rec, err := w.registry.Lookup(w.SharedName)
	switch {
	case err != nil && !errors.Is(err, ErrRecordVersion):
		// Nothing is known, so nothing changes.
	case rec != nil && rec.ID == w.ID:
		w.published.Store(true)
	case err != nil || rec != nil && (w.published.Load() || rec.Generation >= w.generation):
		w.setDisplaced(fmt.Sprintf("another worker has the name %q now", w.SharedName))
	case rec == nil && w.published.Load() || w.isUnclaimed():
		w.setDisplaced(fmt.Sprintf("the name %q was taken away", w.SharedName))
	}
}

// isUnclaimed is whether nobody can publish this worker any more, and nobody has: its starter keeps the name claimed until
// it has.
func (w *Worker) isUnclaimed() bool {
	if w.registry.isRemoved() {
		return true
	}
	claim, err := w.registry.TryClaim(w.SharedName)
	if err != nil || claim == nil {
		return false
	}
	defer claim.Release()
	rec, err := claim.Record()
	return err == nil && (rec == nil || rec.ID != w.ID)
}

// watchedDirs returns the directories in which something happens when clients cannot find this worker any more.
func (w *Worker) watchedDirs() []string {
	if w.registry == nil {
		return nil
	}
	return []string{w.Dir, w.registry.dir}
}

// recheck notices that somebody has removed what clients need, or has put another worker into this one's place.
func (w *Worker) recheck() {
	if w.registry == nil || w.leaving.Load() || w.exiting.Load() {
		return
	}
	for _, name := range []string{launchName, socketName} {
		if _, err := os.Lstat(filepath.Join(w.Dir, name)); errors.Is(err, fs.ErrNotExist) && w.drain.Load() != nil {
			w.setDisplaced(fmt.Sprintf("%q was removed from its directory", name))
		}
	}
	if w.registry.isRemoved() {
		w.setDisplaced("the registry was removed")
	}
	w.CheckName()
}

// setDisplaced ends a worker that does not serve yet; one that does decides itself how.
func (w *Worker) setDisplaced(why string) {
	w.displace.Do(func() {
		w.why = why
		close(w.displaced)
	})
	if w.drain.Load() == nil {
		w.Exit(0)
	}
}

// Displaced returns a channel that is closed when clients cannot find a shared worker any more.
func (w *Worker) Displaced() <-chan struct{} { return w.displaced }

// DisplacedBecause returns why, after Displaced was closed.
func (w *Worker) DisplacedBecause() string { return w.why }

// Withdraw takes a shared worker's name out of the registry if leave agrees, which runs while nobody else can look for
// workers of that name, nor start any. It returns false if that cannot be had now, because somebody else has claimed the
// name. A worker that is not shared just calls leave.
func (w *Worker) Withdraw(leave func() bool) bool {
	if w.registry == nil || w.registry.isRemoved() {
		leave()
		return true
	}
	claim, err := w.registry.TryClaim(w.SharedName)
	if claim == nil && err == nil {
		return false
	}
	if claim != nil {
		defer claim.Release()
	}
	if leave() && claim != nil {
		_ = claim.Remove(w.ID) // a record that stays is that of a dead worker, which the next client finds out
	}
	return true
}
