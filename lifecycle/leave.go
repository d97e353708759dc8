package lifecycle

import (
	"context"
	"os"
	"path/filepath"
)

// Leave ends the worker as SIGTERM does: it drains within the grace and exits with status 0. It returns only if the
// worker is leaving already.
func (w *Worker) Leave() { w.leave() }

// watchOwner runs from init to the owner's death.
func (w *Worker) watchOwner(owner *ownerWatch) {
	owner.wait()
	close(w.ownerGone)
	w.leave()
}

// leave drains and exits. It holds no lock that the program could hold as well.
func (w *Worker) leave() {
	if w.leaving.Swap(true) {
		return
	}
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

// Exit ends the process with this status: it kills everything below the process, removes the instance directory with the
// socket, and exits. It does not drain. The first call wins, others block.
func (w *Worker) Exit(code int) {
	if w.exiting.Swap(true) {
		select {}
	}
	if w.spool != nil {
		w.spool.forget()
	}
	w.killChildren()
	removeInstance(filepath.Dir(w.Dir), w.ID)
	os.Exit(code)
}
