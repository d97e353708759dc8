package lifecycle

import "time"

const (
	// filesOutFor is how long a worker may have no descriptor left before it leaves: those of a busy moment come back.
	filesOutFor   = time.Second
	filesOutEvery = 50 * time.Millisecond
)

// limit applies the limits to this process and begins to watch over those that it is to leave for.
func (w *Worker) limit() error {
	if err := w.Limits.apply(w.Grace); err != nil {
		return err
	}
	if w.Limits.CPU > 0 {
		over := cpuSignal()
		go func() { // for the rest of the process's life
			<-over
			w.leaveOver(LimitCPU)
		}()
	}
	return nil
}

// CheckFiles looks whether a worker with [Limits.OpenFiles] can still open a file. It leaves if it cannot for a whole second;
// CheckFiles does not wait for that. The server calls it after each call, and when it cannot accept a connection. Without
// that limit it does nothing.
func (w *Worker) CheckFiles() {
	if w.Limits.OpenFiles <= 0 || !filesAreOut() || w.filesOut.Swap(true) {
		return
	}
	go w.awaitFiles() // ends when there are descriptors again, or with the process
}

func (w *Worker) awaitFiles() {
	for began := time.Now(); time.Since(began) < filesOutFor; time.Sleep(filesOutEvery) {
		if !filesAreOut() {
			w.filesOut.Store(false)
			return
		}
	}
	w.leaveOver(LimitOpenFiles)
}
