package lifecycle

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/detached-workers/unref/internal/failpoint"
)

// Leave ends the worker as SIGTERM does: it drains within the grace and exits with status 0. It returns only if the
// worker is leaving already.
func (w *Worker) Leave() { w.leave("") }

// LeaveBecause is Leave with a reason, which the worker's last output then shows as a log entry at debug level. The owner's
// death and the signals are shown like that as well.
func (w *Worker) LeaveBecause(reason string) { w.leave(reason) }

// watchOwner runs from init to the owner's death.
func (w *Worker) watchOwner(owner *ownerWatch) {
	owner.wait()
	close(w.ownerGone)
	w.leave("the owner is gone")
}

// leave drains and exits. It holds no lock that the program could hold as well.
func (w *Worker) leave(reason string) {
	if reason == "" {
		w.leaveWith(nil)
		return
	}
	w.leaveWith(&Entry{Level: "debug", Message: "leaving: " + reason})
}

// leaveOver is leave for a worker that is over one of its limits.
func (w *Worker) leaveOver(limit string) {
	w.leaveWith(&Entry{Level: "error", Message: "leaving: " + w.Limits.over(limit), limit: limit})
}

func (w *Worker) leaveWith(parting *Entry) {
	if w.leaving.Swap(true) {
		return
	}
	w.Limits.spend()
	w.tell(parting)
	drain := w.drain.Load()
	if drain == nil || w.Grace < 0 {
		w.Exit(0)
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.Grace)
	defer cancel()
	drained := make(chan struct{})
	go func() { // outlives leave only if the process ends
		defer close(drained)
		(*drain)(ctx)
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
	w.Exit(0)
}

// farewell is the entry that says why the worker leaves, and how long the output was with it.
type farewell struct {
	parting *Entry
	size    int64
}

// tell says in the output why the worker leaves, unless that could block: where there is no spool, standard error may be a
// pipe that nobody reads.
func (w *Worker) tell(parting *Entry) {
	if parting == nil || w.spool == nil {
		return
	}
	parting.Time = time.Now()
	_ = w.EntryWriter().WriteEntry(parting) // on a full disk it is lost, which an ExitError says
	if size, err := (spoolSource{w.spool.file}).Size(); err == nil {
		w.said.Store(&farewell{parting, size})
	}
}

// tellAgain repeats what tell said if much was printed since: the output is bounded, and so is how far anybody looks back.
func (w *Worker) tellAgain() {
	last := w.said.Load()
	if last == nil {
		return
	}
	size, err := (spoolSource{w.spool.file}).Size()
	if err == nil && (size < last.size || size > last.size+tailBytes) {
		w.tell(last.parting)
	}
}

// Exit ends the process with this status: it kills everything below the process, removes the instance directory with the
// socket, and exits. It does not drain. The first call wins, others block.
func (w *Worker) Exit(code int) {
	if w.exiting.Swap(true) {
		select {}
	}
	if w.spool != nil {
		w.spool.forget()
	}
	w.Limits.spend()
	w.killChildren()
	failpoint.Here(failpoint.Removing)
	removeInstance(filepath.Dir(w.Dir), w.ID)
	w.tellAgain()
	os.Exit(code)
}
