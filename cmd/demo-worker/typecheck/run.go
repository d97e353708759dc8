package typecheck

import (
	"context"
	"fmt"
	"go/token"
	"go/types"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// run is one check.
type run struct {
	checker *Checker
	config  api.Config
	sizes   types.Sizes
	nodes   []*node // in dependency order
	byID    map[string]*node
	fset    *token.FileSet
	events  chan api.CheckEvent // unbuffered; closed by execute when all nodes are done
	slots   chan struct{}       // holds one value for each package that is being checked

	mu    sync.Mutex        // guards what follows
	files map[string]parsed // files that were parsed to find out what changed
	kept  int64             // the size of files
	stale bool              // a file has changed in the course of the run
}

// maxKept bounds the size of the files whose syntax trees are kept from the look at what has changed to the check; those
// beyond are parsed twice. Trees take some ten times as much.
const maxKept = 8 << 20

// maxBase bounds the positions; past it everything is forgotten, so that they fit into 32 bits.
const maxBase = 1 << 30

// node is a package in a run. What is known of it comes in steps: sources, keys, lookup, and for those that are not known
// from before, the check.
type node struct {
	pkg      *api.Package
	target   bool
	deps     []*node
	imported bool // by another node
	height   int  // the longest way down
	// missing is an import that is not among the packages, or that is part of an import cycle; empty if there is none.
	missing string

	declKey sum // of what others can see
	fullKey sum // of the result of a full check; only for targets

	export *export // what others can see, once it is known; nil where nobody needs it
	result *result // what a full check told, once it is known; only for targets
	reused bool    // the result is from an earlier run

	wantExport, wantResult bool
	done                   chan struct{} // closed when the node has what is wanted, or the run was given up
}

// newRun makes the graph and refuses requests that make no sense.
func newRun(c *Checker, req api.CheckRequest) (*run, error) {
	r := &run{
		checker: c,
		config:  req.Config,
		sizes:   types.SizesFor("gc", req.Config.GOARCH),
		byID:    make(map[string]*node, len(req.Packages)),
		fset:    token.NewFileSet(),
		events:  make(chan api.CheckEvent),
		slots:   make(chan struct{}, runtime.GOMAXPROCS(0)),
		files:   make(map[string]parsed),
	}
	if r.sizes == nil {
		return nil, &RequestError{fmt.Sprintf("architecture %q is not known", req.Config.GOARCH)}
	}
	// Positions of this run are above those of all earlier ones, so that one that comes from a kept package is not
	// taken for one of a file of this run.
	if c.base > maxBase {
		c.base, c.store = 0, store{}
	}
	if c.base > r.fset.Base() {
		r.fset.AddFile("", c.base, 0)
	}
	for i := range req.Packages {
		r.add(&req.Packages[i])
	}
	for _, id := range req.Targets {
		n := r.byID[id]
		if n == nil {
			return nil, &RequestError{fmt.Sprintf("target %s is not among the packages", id)}
		}
		n.target = true
	}
	return r, nil
}

// add adds a package whose dependencies have been added before.
func (r *run) add(p *api.Package) {
	n := &node{pkg: p, done: make(chan struct{})}
	for _, id := range p.Imports {
		dep := r.byID[id]
		if dep == nil {
			n.missing = id
			continue
		}
		dep.imported = true
		n.deps = append(n.deps, dep)
		n.height = max(n.height, dep.height+1)
	}
	r.nodes = append(r.nodes, n)
	r.byID[p.ID] = n
}

// close ends the run.
func (r *run) close() { r.checker.base = r.fset.Base() }

// do runs the check.
func (r *run) do(ctx context.Context, send func(api.CheckEvent) error) error {
	start := time.Now()
	if err := r.fingerprint(ctx); err != nil {
		return err
	}
	r.lookUp()
	r.choose()
	if err := r.sendReused(ctx, send); err != nil {
		return err
	}
	err := r.execute(ctx, send)
	r.commit()
	if err == nil {
		err = r.sendCulprits(send)
	}
	if err != nil {
		return err
	}
	return send(api.CheckEvent{Kind: api.EventSummary, Elapsed: time.Since(start), Summary: r.summary()})
}

// lookUp finds what is known of the packages.
func (r *run) lookUp() {
	for _, n := range r.nodes {
		n.export = r.checker.store.export(n.declKey)
		if n.target {
			n.result = r.checker.store.result(n.fullKey)
			n.reused = n.result != nil
		}
	}
}

// choose decides what has to be checked: targets without a result, what they need to know of others, and the packages
// that are to blame for known results.
func (r *run) choose() {
	for _, n := range r.nodes {
		n.wantResult = n.target && n.result == nil
		if n.result != nil {
			if culprit := r.byID[n.result.skippedFor]; culprit != nil && culprit.export == nil && !culprit.pkg.Target {
				culprit.wantExport = true
			}
		}
	}
	for _, n := range slices.Backward(r.nodes) {
		if !n.wantResult && !n.wantExport {
			close(n.done)
			continue
		}
		for _, dep := range n.deps {
			dep.wantExport = dep.export == nil
		}
	}
}

// execute checks what has to be checked, in dependency order.
func (r *run) execute(ctx context.Context, send func(api.CheckEvent) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, n := range r.nodes {
		if n.wantResult || n.wantExport {
			wg.Go(func() {
				defer close(n.done)
				r.work(ctx, n)
			})
		}
	}
	var closer sync.WaitGroup
	defer closer.Wait()
	closer.Go(func() {
		wg.Wait()
		close(r.events)
	})
	for event := range r.events {
		if ctx.Err() == nil {
			if err := send(event); err != nil {
				cancel(err)
			}
		}
	}
	return context.Cause(ctx)
}

// work gives a node what is wanted, once its dependencies have it.
func (r *run) work(ctx context.Context, n *node) {
	for _, dep := range n.deps {
		select {
		case <-dep.done:
		case <-ctx.Done():
			return
		}
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return
	}
	start := time.Now()
	culprit := n.culprit()
	if n.wantResult && culprit == "" {
		r.emit(ctx, api.CheckEvent{Kind: api.EventStarted, ID: n.pkg.ID})
	}
	if !r.check(ctx, n, culprit) || !n.wantResult {
		return
	}
	r.emit(ctx, n.doneEvent(time.Since(start)))
}

// emit hands an event to the goroutine that sends.
func (r *run) emit(ctx context.Context, event api.CheckEvent) {
	select {
	case r.events <- event:
	case <-ctx.Done():
	}
}

// culprit returns the package that keeps this one from being checked; empty if there is none.
func (n *node) culprit() string {
	if len(n.pkg.Errors) > 0 {
		return ""
	}
	for _, dep := range n.deps {
		if dep.export != nil && dep.export.culprit != "" {
			return dep.export.culprit
		}
	}
	return n.missing
}

// commit keeps what was found out. If a file has changed meanwhile, nothing is: it may have been made from another text
// than its key says.
func (r *run) commit() {
	if r.stale {
		return
	}
	for _, n := range r.nodes {
		if n.export != nil {
			r.checker.store.exports.put(n.declKey, n.export)
		}
		if n.result != nil {
			r.checker.store.results.put(n.fullKey, n.result)
		}
	}
	r.checker.store.trim(r.checker.MaxSource)
}
