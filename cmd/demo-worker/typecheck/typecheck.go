// Package typecheck type-checks Go packages from source and keeps what it has learnt between calls. Start with
// [Checker.Plan], which asks `go list` for the package graph, and [Checker.Check], which checks targets of a plan.
//
// At any point in time every package that is kept was made from the packages that are kept for its imports: a type has
// one identity in all of them. A package is known by its content, not by its name. What others can see of it is keyed by
// the text of its files without the bodies of functions, and by the same key of its imports; the result of a full check is
// keyed by the whole text and the imports' keys. So an edit within a function has one package checked again; an edit of
// a declaration also those that depend on it; going back to an earlier state, or touching a file, none.
//
// # What is checked how
//
// Targets are checked in full. Of all other packages the declarations are checked, from source as well. The errors are
// those of go/parser and go/types, in the words of `go vet`; the compiler's differ in places. What only the compiler
// refuses is not found: a function without a body, go:linkname in a file that does not import unsafe, go:embed without the
// import of embed or on a variable of the wrong type. As with `go vet`, a package with internal tests is checked once,
// together with them, and a package is skipped if one that it depends on has errors in its declarations. Unlike there,
// errors in the bodies of a package do not keep others from being checked.
//
// Targets that import "C" are checked as cgo translates them; other packages that do are taken as they are, and what
// they select from C has any type.
//
// # What is relied on
//
// A file whose size and modification time are as before has not changed, unless the time is so recent that a later write
// could have left the same one. The standard library does not change while the file VERSION beside it is the same, and
// the module cache never does. The environment of the go command is that of this process. Header
// files outside of a package that uses cgo do not change.
package typecheck

import (
	"context"
	"sync"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// Checker plans and checks. The zero value is ready; it must not be copied after first use. Its methods may be called
// from several goroutines: checks are run one after another, since each uses all CPUs that the process may use, and so
// are plans.
type Checker struct {
	// MaxSource bounds the packages whose declarations are kept, by the size of their source in bytes; memory is about
	// twice as much. Those that were not used for longest are dropped at the end of a check. Zero means 128 MiB,
	// negative means that none is kept. It must not be changed after first use.
	MaxSource int64

	planning turn
	plans    map[string]*plan // by request; guarded by planning
	clock    int              // counts plans; guarded by planning
	watched  memo[sum]        // what plans rely on

	checking turn
	store    store        // guarded by checking
	sources  memo[source] // files that can change
	base     int          // positions below it were given out in earlier checks; guarded by checking
}

// RequestError is the error for a request that can't be answered: an unusable pattern, a directory that does not exist,
// a module file that can't be read. Whatever is wrong with a package is a diagnostic instead.
type RequestError struct {
	message string
}

func (e *RequestError) Error() string { return e.message }

// turn lets one in at a time. The zero value is ready.
type turn struct {
	once sync.Once
	busy chan struct{} // capacity 1; full while somebody is in
}

// take waits until nobody is in or ctx ends.
func (t *turn) take(ctx context.Context) error {
	t.once.Do(func() { t.busy = make(chan struct{}, 1) })
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	select {
	case t.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave lets the next one in.
func (t *turn) leave() { <-t.busy }

// Check checks the targets of the request and hands each event to send, from the calling goroutine. What send returns
// ends the check, as does ctx: promptly, but not within one package. What was finished by then is kept.
func (c *Checker) Check(ctx context.Context, req api.CheckRequest, send func(api.CheckEvent) error) error {
	if err := c.checking.take(ctx); err != nil {
		return err
	}
	defer c.checking.leave()
	r, err := newRun(c, req)
	if err != nil {
		return err
	}
	defer r.close()
	return r.do(ctx, send)
}
