package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

// PoolConfig has the settings of a [Pool]. All but Command may be left as they
// are. It is copied on use.
type PoolConfig struct {
	// Command describes the workers.
	Command *lifecycle.Command

	// Dialer has the settings for the workers and the calls on them. Nil means
	// the zero Dialer.
	Dialer *Dialer

	// Name shares the workers with other programs: instead of starting its own
	// the pool attaches, see [Dialer.Attach], to those named Name + " #1" and so
	// on, and lets go of them in the end. The settings that have workers
	// replaced, from MaxCalls to MaxRSS, and Surge can't be used then. Empty means that the
	// workers are the pool's own.
	Name string

	// Prepare, if not nil, changes the command for the worker in a slot, a copy
	// of which it is given; Config is not copied, so replace it and do not change
	// what is in it. Slots are numbers from 0 to Max + Surge - 1; no two
	// workers that live have the same one, and a new one has the lowest that is
	// free. An error fails the start. It is called from several
	// goroutines at once, and must not block: closing the pool waits for it.
	Prepare func(slot int, cmd *lifecycle.Command) error

	// Min is how many workers there are at least; they are started at once. Zero
	// means that all are started when they are needed.
	Min int

	// Max is how many workers there are at most, those that are being stopped
	// included. Zero means as many as GOMAXPROCS, or Min if that is more.
	Max int

	// Surge is how many workers there may be beyond Max while workers are
	// replaced as planned, or have been discarded. Zero means 1; negative means none: then each is gone
	// before another one starts.
	Surge int

	// CallsPerWorker is how many calls a worker has in flight at most. Zero means
	// 1.
	CallsPerWorker int

	// MaxQueue is how many calls wait for a worker at most; [ErrQueueFull] is the
	// error of others. Zero means 1000; negative means none.
	MaxQueue int

	// QueueTimeout is how long a call waits for a worker at most; then it fails
	// with [ErrQueueTimeout]. It is no part of the call's own time, see
	// [Dialer.Timeout]. Zero means 30 s; negative means as long as its context.
	QueueTimeout time.Duration

	// Strategy chooses the worker for a call. Nil means [LeastBusy].
	Strategy Strategy

	// MaxTries is how often a call that is [Idempotent] is run at most. Zero
	// means 3.
	MaxTries int

	// CancelGrace is how long a worker has to end a call that has timed out or
	// was cancelled. One that does not is killed and replaced, and says where it
	// was stuck; until then it is given no other calls. Zero means 2 s; negative
	// means that the call is left alone.
	CancelGrace time.Duration

	// ShrinkAfter is how long a worker beyond Min has nothing to do before it is
	// stopped. Zero means 1 minute; negative means that none is.
	ShrinkAfter time.Duration

	// MaxCalls is how many calls and leases a worker takes before it is
	// replaced. Zero means any number; 1 means a fresh process for each.
	MaxCalls int

	// MaxAge is how long a worker serves before it is replaced. Zero means for
	// ever.
	MaxAge time.Duration

	// MaxIdleRSS and MaxRSS, in bytes, limit the resident memory of a worker. One
	// that has nothing to do is replaced beyond MaxIdleRSS; beyond MaxRSS it is
	// killed, with all that it does. Memory is looked at when a worker becomes
	// idle, and twice a second while it is busy, on Linux only. Zero means any
	// amount.
	MaxIdleRSS int64
	MaxRSS     int64

	// Jitter is by which part of MaxCalls and MaxAge at most the replacement of a
	// worker begins earlier, so that not all are replaced at once. Zero means
	// 0.1; negative means none. After MaxCalls a worker takes no more, whether
	// its replacement is ready or not: that begins half of Jitter before at
	// least, and one call before in any case.
	Jitter float64

	// DrainTimeout is how long a worker that is to be replaced may take to finish
	// what it has; one that is replaced because of MaxCalls has any time. Zero means 10 minutes; negative means for ever.
	DrainTimeout time.Duration

	// MinBackoff and MaxBackoff are the time before the next start after one that
	// failed: MinBackoff at first, twice as much each time, and up to half as
	// much again at random. Zero means 250 ms and 5 s. A worker that dies is
	// replaced at once the first time.
	MinBackoff time.Duration
	MaxBackoff time.Duration

	// MaxRestarts is how many failures in a row the pool takes, within
	// RestartWindow, before it starts nothing more: calls for which there is no
	// worker then fail at once with [ErrRestartLimit]. In a row are starts that
	// fail with none in between that succeeds, and workers that die unasked (not
	// those that leave in order, as after their MaxLifetime), each
	// started after the one before had died, with none in between that answers a
	// call. Zero means 10; negative means any number.
	MaxRestarts int

	// RestartWindow is the time after which a failure counts no more. Zero means
	// 1 minute.
	RestartWindow time.Duration

	// CloseTimeout is how long Close lets calls and leases go on. Zero means
	// 10 s; negative means not at all.
	CloseTimeout time.Duration

	// Check, if not nil, is asked before a worker is lent to somebody, see
	// [Pool.Acquire]. A worker with which it fails is discarded and another one
	// taken. It has 5 s.
	Check func(context.Context, *Worker) error
}

// maxPlaces bounds how many workers, and calls of each, may be asked for.
const maxPlaces = 1 << 20

const (
	defaultMaxQueue      = 1000
	defaultQueueTimeout  = 30 * time.Second
	defaultMaxTries      = 3
	defaultCancelGrace   = 2 * time.Second
	defaultShrinkAfter   = time.Minute
	defaultJitter        = 0.1
	defaultDrainTimeout  = 10 * time.Minute
	defaultMinBackoff    = 250 * time.Millisecond
	defaultMaxBackoff    = 5 * time.Second
	defaultMaxRestarts   = 10
	defaultRestartWindow = time.Minute
	defaultCloseTimeout  = 10 * time.Second
)

// withDefaults returns the settings with zeros replaced, and negative ones that
// mean "none" as zero where that is what the pool looks for. They must be valid.
func (c PoolConfig) withDefaults() PoolConfig {
	c.Max = cmp.Or(c.Max, max(runtime.GOMAXPROCS(0), c.Min))
	c.Surge = max(0, cmp.Or(c.Surge, 1))
	if c.Name != "" {
		c.Surge = 0 // who attaches under a name again replaces without a gap
	}
	c.CallsPerWorker = cmp.Or(c.CallsPerWorker, 1)
	c.MaxQueue = max(0, cmp.Or(c.MaxQueue, defaultMaxQueue))
	c.QueueTimeout = max(0, cmp.Or(c.QueueTimeout, defaultQueueTimeout))
	if c.Strategy == nil {
		c.Strategy = LeastBusy()
	}
	c.MaxTries = cmp.Or(c.MaxTries, defaultMaxTries)
	c.CancelGrace = cmp.Or(c.CancelGrace, defaultCancelGrace)
	c.ShrinkAfter = max(0, cmp.Or(c.ShrinkAfter, defaultShrinkAfter))
	c.Jitter = max(0, cmp.Or(c.Jitter, defaultJitter))
	c.DrainTimeout = max(0, cmp.Or(c.DrainTimeout, defaultDrainTimeout))
	c.MinBackoff = cmp.Or(c.MinBackoff, defaultMinBackoff)
	c.MaxBackoff = max(c.MinBackoff, cmp.Or(c.MaxBackoff, defaultMaxBackoff))
	c.MaxRestarts = cmp.Or(c.MaxRestarts, defaultMaxRestarts)
	c.RestartWindow = cmp.Or(c.RestartWindow, defaultRestartWindow)
	c.CloseTimeout = max(0, cmp.Or(c.CloseTimeout, defaultCloseTimeout))
	return c
}

// validate returns all faults of the settings.
func (c *PoolConfig) validate() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format+": %w", append(args, fs.ErrInvalid)...))
		}
	}
	fault(c.Command == nil, "Command is nil")
	if c.Command != nil {
		if err := c.Command.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("command: %w", err))
		}
	}
	fault(c.Min < 0, "Min of %d is negative", c.Min)
	fault(c.Max < 0, "Max of %d is negative", c.Max)
	fault(c.Max > 0 && c.Min > c.Max, "Min of %d is more than Max of %d", c.Min, c.Max)
	fault(c.CallsPerWorker < 0, "CallsPerWorker of %d is negative", c.CallsPerWorker)
	fault(c.Max > maxPlaces || c.Min > maxPlaces || c.Surge > maxPlaces || c.CallsPerWorker > maxPlaces,
		"Min, Max, Surge or CallsPerWorker is more than %d", maxPlaces)
	fault(c.MaxTries < 0, "MaxTries of %d is negative", c.MaxTries)
	fault(c.MaxCalls < 0, "MaxCalls of %d is negative", c.MaxCalls)
	fault(c.MaxAge < 0, "MaxAge of %v is negative", c.MaxAge)
	fault(c.MaxIdleRSS < 0, "MaxIdleRSS of %d is negative", c.MaxIdleRSS)
	fault(c.MaxRSS < 0, "MaxRSS of %d is negative", c.MaxRSS)
	fault(c.MaxRSS > 0 && c.MaxIdleRSS > c.MaxRSS, "MaxIdleRSS of %d is more than MaxRSS of %d", c.MaxIdleRSS, c.MaxRSS)
	fault(c.Jitter >= 1 || c.Jitter != c.Jitter, "Jitter of %v is not less than 1", c.Jitter)
	fault(c.MinBackoff < 0, "MinBackoff of %v is negative", c.MinBackoff)
	fault(c.MaxBackoff < 0, "MaxBackoff of %v is negative", c.MaxBackoff)
	fault(c.MaxBackoff > 0 && c.MinBackoff > c.MaxBackoff, "MinBackoff of %v is more than MaxBackoff of %v", c.MinBackoff, c.MaxBackoff)
	fault(c.RestartWindow < 0, "RestartWindow of %v is negative", c.RestartWindow)
	if c.Name != "" {
		fault(c.replaces(), "Name shares the workers, which then can't be replaced: Surge, MaxCalls, MaxAge, MaxIdleRSS and MaxRSS must be zero")
		if err := lifecycle.CheckSharedName(slotName(c.Name, max(c.Max, 1)+1000)); err != nil {
			faults = append(faults, fmt.Errorf("Name: %w", err))
		}
	}
	return errors.Join(faults...)
}

// replaces reports whether workers are to be replaced as planned.
func (c *PoolConfig) replaces() bool {
	return c.Surge > 0 || c.MaxCalls != 0 || c.MaxAge != 0 || c.MaxIdleRSS != 0 || c.MaxRSS != 0
}

// slotName is the name under which the worker in a slot is shared.
func slotName(name string, slot int) string { return fmt.Sprintf("%s #%d", name, slot+1) }
