package client

import (
	"context"
	"iter"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

// Lines yields what the worker prints and logs, whatever the logger takes. past
// is how much, in bytes, of what is kept by now comes first, from the first whole
// line on: zero means nothing; negative means all, about 4 to 8 MiB.
//
// Without follow that is all. With follow the loop goes on with each line as it
// is completed, until the worker's process is gone, ctx ends, or the worker is
// closed. An unfinished last line comes at the end.
//
// Each loop over the result reads for itself, in the goroutine of the caller. One
// that is too slow loses lines and is told how many bytes; it never slows the
// worker.
func (w *Worker) Lines(ctx context.Context, past int64, follow bool) iter.Seq[lifecycle.Line] {
	return func(yield func(lifecycle.Line) bool) {
		bell, forget := w.output.subscribe()
		defer forget()
		reader := w.proc.Output()
		if past >= 0 {
			reader.Skip(past)
		}
		for more := follow; ; {
			if !yieldAll(reader.Next, yield) {
				return
			}
			if !more {
				yieldAll(reader.Flush, yield)
				return
			}
			// After the end of the wait the reader is asked once more.
			more = w.awaitOutput(ctx, bell)
		}
	}
}

// yieldAll yields the lines that there are now, and reports whether the loop
// wants more.
func yieldAll(next func() (lifecycle.Line, bool), yield func(lifecycle.Line) bool) bool {
	for line, ok := next(); ok; line, ok = next() {
		if !yield(line) {
			return false
		}
	}
	return true
}

// lastOutputPoll is the pause between looks at the output of a worker that takes
// no more connections and so rings no more.
const lastOutputPoll = 50 * time.Millisecond

// awaitOutput waits until there may be more to read, and returns false if nothing
// comes any more.
func (w *Worker) awaitOutput(ctx context.Context, bell <-chan struct{}) bool {
	select {
	case <-bell:
		return true
	case <-w.done:
		return w.awaitLastOutput(ctx)
	case <-w.life.Done():
	case <-ctx.Done():
	}
	return false
}

// awaitLastOutput is awaitOutput for a worker that takes no more connections,
// because it has gone or is about to: what it prints on its way out counts too.
func (w *Worker) awaitLastOutput(ctx context.Context) bool {
	select {
	case <-time.After(lastOutputPoll):
		return true
	case <-w.proc.Done():
	case <-w.life.Done():
	case <-ctx.Done():
	}
	return false
}

// subscribe returns a channel on which wake rings, and what ends that.
func (o *output) subscribe() (bell <-chan struct{}, forget func()) {
	reader := make(chan struct{}, 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.readers == nil {
		o.readers = make(map[chan struct{}]struct{})
	}
	o.readers[reader] = struct{}{}
	return reader, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.readers, reader)
	}
}
