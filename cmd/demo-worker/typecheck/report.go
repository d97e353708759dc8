package typecheck

import (
	"context"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// doneEvent is the event for a target that has a result.
func (n *node) doneEvent(elapsed time.Duration) api.CheckEvent {
	return api.CheckEvent{
		Kind:        api.EventDone,
		ID:          n.pkg.ID,
		Reused:      n.reused,
		SkippedFor:  n.result.skippedFor,
		Diagnostics: n.result.list,
		Dropped:     n.result.dropped,
		Elapsed:     elapsed,
	}
}

// sendReused sends the results that are known from before.
func (r *run) sendReused(ctx context.Context, send func(api.CheckEvent) error) error {
	for _, n := range r.nodes {
		if !n.reused {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := send(n.doneEvent(0)); err != nil {
			return err
		}
	}
	return nil
}

// sendCulprits sends the errors of the packages that nobody asked for, as far as they keep others from being checked.
func (r *run) sendCulprits(send func(api.CheckEvent) error) error {
	for _, n := range r.nodes {
		if n.pkg.Target || n.target {
			continue
		}
		event := api.CheckEvent{Kind: api.EventDone, ID: n.pkg.ID, Reused: !n.wantExport}
		switch {
		case len(n.pkg.Errors) > 0:
			event.Diagnostics = n.pkg.Errors
		case n.export != nil && n.export.culprit == n.pkg.ID:
			event.Diagnostics, event.Dropped = n.export.list, n.export.dropped
		default:
			continue
		}
		if err := send(event); err != nil {
			return err
		}
	}
	return nil
}

// summary counts what was done.
func (r *run) summary() *api.Summary {
	var s api.Summary
	for _, n := range r.nodes {
		switch {
		case !n.target && n.wantExport:
			s.DependenciesChecked++
		case !n.target:
			s.DependenciesReused++
		case n.result.skippedFor != "":
			s.Skipped++
		case n.reused:
			s.Reused++
		default:
			s.Checked++
		}
		if n.target {
			s.Diagnostics += len(n.result.list) + n.result.dropped
		}
	}
	return &s
}
