package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Worker is what a process that [Command.Start] started knows of itself. There is at most one in a process. The fields
// must not be changed; the methods are safe for concurrent use.
type Worker struct {
	Name string
	// ID is the random id of the instance, 16 hexadecimal digits.
	ID string
	// Dir is the private instance directory, which Exit removes.
	Dir string
	// Socket is the path in it at which to listen.
	Socket string
	// Secret is known to the starter only.
	Secret []byte
	// Build is the build identity that was asked for, empty for any.
	Build string
	// IdleTimeout is how long to stay without a client. Zero means for ever.
	IdleTimeout time.Duration
	// MaxLifetime is how long to live at most. Zero means for ever.
	MaxLifetime time.Duration
	// Grace bounds the teardown. Negative means none: exit at once. It is never zero.
	Grace    time.Duration
	LogLevel string
	// Limits are those that the process has applied to itself.
	Limits Limits
	// Self is whether the worker is the starter's own executable, described by [Self].
	Self bool
	// HasOwner is whether the worker is to leave when its owner has died.
	HasOwner bool
	// SharedName is the name under which clients of other programs find the worker. Empty means that it is its starter's
	// alone.
	SharedName string
	// DrainTimeout is how long a shared worker that has been displaced goes on serving the clients it has. Zero means not at
	// all.
	DrainTimeout time.Duration
	// OwnerUnseen is whether there is an owner that cannot be watched from here, in another pid namespace say. Then
	// OwnerGone never fires, and the owner's connection is the only lease.
	OwnerUnseen bool

	config    json.RawMessage
	lock      *os.File // shared lock on the instance, held until the process ends
	spool     *spool   // nil if standard output and error were redirected
	ownerGone chan struct{}

	registry   *Registry   // nil if the worker is not shared
	generation int         // of its record
	checking   sync.Mutex  // held while the registry is looked at
	published  atomic.Bool // the registry is known to have named this worker
	displace   sync.Once
	displaced  chan struct{} // closed by displace
	why        string        // of displaced, written before it is closed

	drain   atomic.Pointer[func(context.Context)] // set by Serving
	leaving atomic.Bool
	exiting atomic.Bool
	said    atomic.Pointer[farewell]

	filesOut atomic.Bool // somebody waits for descriptors to come back
	parent   atomic.Bool // the process has or had children, or siblings below a wrapper
}

// Both are set by init, before any code of the program runs, and never again.
var (
	current    *Worker
	currentErr error
)

// The owner watch has to be armed before anything of the program can hang, fork or crash. Package initialisation is the
// earliest moment there is, and it comes before that of every package that imports this one.
func init() {
	if dir := os.Getenv(envInstance); dir != "" {
		current, currentErr = arm(dir)
	}
}

// Current returns what this process knows of itself as a worker. It returns nil and no error in a process that was not
// started as one, and an error in one that was but cannot use its launch file.
func Current() (*Worker, error) {
	return current, currentErr
}

// Inside returns the id of the worker that this process is or was started from, at any depth, and "" if there is none.
func Inside() string {
	return os.Getenv(envWorker)
}

// guardItself refuses a start that could go on for ever: that of a worker which does not serve yet and starts the program
// that it is itself.
func guardItself(path string) error {
	if current == nil || current.drain.Load() != nil || !current.Self && !sameFile(path, selfPath()) {
		return nil
	}
	return fmt.Errorf("%w; it was started as worker %q, and no server.Main or server.MainIfWorker took over for that name",
		ErrNotServing, current.Name)
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// DecodeConfig decodes [Command.Config] into v. It leaves v as it is if there was none.
func (w *Worker) DecodeConfig(v any) error {
	if len(w.config) == 0 {
		return nil
	}
	if err := json.Unmarshal(w.config, v); err != nil {
		return fmt.Errorf("decode config of worker %s: %w", w.Name, err)
	}
	return nil
}

// Serving says that the worker has reached its main job, and what to run before it exits because its owner is gone or
// because of SIGTERM or SIGINT. drain's context ends with the grace; the process exits with status 0 when drain returns
// or the grace is over, whatever the program is doing. Before Serving the owner's death ends the process at once, and the
// signals have their usual effect. A later call replaces drain. Nil means that there is nothing to drain.
func (w *Worker) Serving(drain func(ctx context.Context)) {
	if drain == nil {
		drain = func(context.Context) {}
	}
	if w.drain.Swap(&drain) != nil {
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() { // for the rest of the process's life
		w.leave("signal " + (<-signals).String())
	}()
}

// OwnerGone returns a channel that is closed when the owner has died. It never is if there is none or it is unseen.
func (w *Worker) OwnerGone() <-chan struct{} {
	return w.ownerGone
}

// WatchOutput calls grew at once, and again after output was written to the spool, until ctx ends, and returns ctx's
// cause. Calls are never concurrent, and one may stand for many writes. It runs in the caller's goroutine; grew may take
// its time.
func (w *Worker) WatchOutput(ctx context.Context, grew func()) error {
	if w.spool == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return w.spool.watch(ctx, grew)
}

// Spool returns the file that holds the output, for [NewOutputReader] and to hand on to clients. It is nil if the program
// was started by a wrapper that redirected standard output and error.
func (w *Worker) Spool() *os.File {
	if w.spool == nil {
		return nil
	}
	return w.spool.file
}

// EntryWriter returns a new writer of entries to the spool, or to standard error where there is none.
func (w *Worker) EntryWriter() *EntryWriter {
	if w.spool == nil {
		return &EntryWriter{}
	}
	return &EntryWriter{W: w.spool.file}
}
