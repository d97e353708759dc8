package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/internal/failpoint"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// The pauses between looks at a name that somebody else has claimed. After
// waitLogged it is said for whom.
const (
	minClaimPause = time.Millisecond
	maxClaimPause = 8 * time.Millisecond
	maxLookPause  = 250 * time.Millisecond // also while a replacement has to wait

	// maxContentionWait is what an attach may wait beyond the StartTimeout that
	// it leaves to whoever has claimed the name.
	maxContentionWait = 30 * time.Second
	waitLogged        = time.Second
)

// election is one Attach.
type election struct {
	dialer   *Dialer
	name     string
	cmd      *lifecycle.Command // a copy
	registry *lifecycle.Registry
	restart  bool   // a worker that could be reused is to be replaced
	only     string // the instance that restart is about

	print    *lifecycle.Fingerprint
	decision Decision
	waiting  bool // it was said that somebody is waited for
	warned   bool // it was said that others want another configuration

	// The instance that did not answer in time; the one that has turned
	// connections away, since when; and the one that has another build.
	silent    string
	busy      string
	busySince time.Time
	unfit     string
	misfit    lifecycle.Difference
}

func newElection(d *Dialer, name string, cmd *lifecycle.Command) (*election, error) {
	if cmd == nil {
		return nil, errNoCommand
	}
	if err := lifecycle.CheckSharedName(name); err != nil {
		return nil, err
	}
	described := d.describe(cmd)
	registry, err := lifecycle.OpenRegistry(described.RuntimeDir)
	if err != nil {
		return nil, err
	}
	return &election{dialer: d, name: name, cmd: described, registry: registry}, nil
}

// run looks for a worker that can be used, and for the right to make one, until
// it has either.
func (e *election) run(ctx context.Context) (*Worker, error) {
	for round := 0; ; round++ {
		e.print = nil // the executable may have been written since
		rec, err := e.registry.Lookup(e.name)
		if err != nil {
			return nil, err
		}
		w, err := e.reuse(ctx, rec)
		if w != nil || err != nil {
			return w, err
		}
		w, pause, err := e.contend(ctx)
		if w != nil || err != nil {
			return w, err
		}
		if pause == 0 {
			pause = min(minClaimPause<<min(round, 10), maxClaimPause)
		}
		if err := e.wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// contend claims the name, if it is free, and decides. pause is how long to wait
// before the next look, 0 if that is as usual.
func (e *election) contend(ctx context.Context) (w *Worker, pause time.Duration, err error) {
	claim, err := e.registry.TryClaim(e.name)
	switch {
	case err != nil:
		return nil, 0, err
	case claim == nil && e.registry.IsInside(e.name):
		return nil, 0, fmt.Errorf("%w: this process runs inside the worker that it would have to wait for", lifecycle.ErrNested)
	case claim == nil:
		e.decision.WaitedFor = e.holder()
		return nil, 0, nil
	}
	defer claim.Release()
	return e.decide(ctx, claim)
}

// holder names who has claimed the name.
func (e *election) holder() string {
	holder, ok := e.registry.Holder(e.name)
	if !ok {
		return "another process, which has claimed the name"
	}
	return fmt.Sprintf("process %d (%s), which has claimed the name", holder.Pid, holder.Program)
}

// wait waits for others.
func (e *election) wait(ctx context.Context, pause time.Duration) error {
	began := time.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	e.decision.Waited += time.Since(began)
	err := ctx.Err()
	if limit := e.cmd.StartLimit(); err == nil && limit > 0 && e.decision.Waited > limit+maxContentionWait {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return fmt.Errorf("waited %v for %s: %w", e.decision.Waited.Round(time.Millisecond), e.decision.WaitedFor, err)
	}
	if e.decision.Waited > waitLogged && !e.waiting {
		e.waiting = true
		e.log().Debugf("attach to %q: waiting for %s", e.name, e.decision.WaitedFor)
	}
	return nil
}

func (e *election) log() logrus.FieldLogger { return e.dialer.logger() }

// fingerprint returns that of the worker that is asked for.
func (e *election) fingerprint(known *lifecycle.Record) (*lifecycle.Fingerprint, error) {
	var err error
	if e.print == nil {
		e.print, err = e.cmd.Fingerprint(known)
	}
	return e.print, err
}

// reuse attaches to the worker of a record, if that has the right configuration
// and answers.
func (e *election) reuse(ctx context.Context, rec *lifecycle.Record) (*Worker, error) {
	if rec == nil || rec.ID == e.silent || e.restart {
		return nil, nil
	}
	print, err := e.fingerprint(rec)
	if err != nil || len(rec.Fingerprint.Diff(print)) > 0 {
		return nil, err
	}
	w, err := e.reach(ctx, rec, e.cmd.Build)
	if w == nil {
		return nil, err
	}
	e.decision.Action, e.decision.Reason = Reused, fmt.Sprintf("worker %d, started %v ago, answered and has the same configuration",
		rec.Pid(), time.Since(rec.Started).Round(time.Millisecond))
	e.registry.Restamp(rec, print)
	return w, nil
}

// reach connects to a recorded worker, which must have the build unless that is
// empty. It returns neither worker nor error if it could not, and remembers why:
// the worker is silent, busy, or refuses; else it is gone.
func (e *election) reach(ctx context.Context, rec *lifecycle.Record, build string) (*Worker, error) {
	w := newAttached(e.dialer, rec.Address, build)
	limit := e.dialer.answerTimeout()
	err := w.meet(ctx, limit, func(output *os.File, _ int) *lifecycle.Process { return rec.Open(output) })
	if err == nil {
		return w, nil
	}
	w.letGo()
	mismatch, refused := errors.AsType[*transport.MismatchError](err)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("worker %d: %w: %w", rec.Pid(), unready(err), ctx.Err())
	case errors.Is(err, context.DeadlineExceeded):
		e.silent = rec.ID
	case refused && mismatch.Is(transport.ErrBuild):
		e.unfit = rec.ID
		e.misfit = lifecycle.Difference{Field: mismatch.Field, Was: mismatch.Got, Is: mismatch.Want}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return nil, err
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, transport.ErrNoHandshake):
		e.noteBusy(rec.ID, limit)
	default:
		e.log().WithError(err).Debugf("attach to %q: worker %d can't be reached", e.name, rec.Pid())
	}
	return nil, nil
}

// noteBusy gives up a worker that turns connections away for too long, because
// its backlog is full, or by closing them.
func (e *election) noteBusy(id string, limit time.Duration) {
	if e.busy != id {
		e.busy, e.busySince = id, time.Now()
	}
	if limit > 0 && time.Since(e.busySince) > limit {
		e.silent = id
	}
}

// decide looks again, now that nobody else can change anything, and starts a
// worker if that has to be.
func (e *election) decide(ctx context.Context, claim *lifecycle.Claim) (*Worker, time.Duration, error) {
	e.print = nil // as in run: from here on others see what this election has seen
	rec, err := claim.Record()
	if err != nil {
		return nil, 0, err
	}
	w, err := e.reuse(ctx, rec)
	if w != nil || err != nil {
		return w, 0, err
	}
	if err := e.checkInside(); err != nil {
		return nil, 0, err
	}
	if e.restart && (rec == nil || rec.ID != e.only) {
		return nil, 0, fmt.Errorf("the worker has left or was replaced meanwhile: %w", ErrNoWorker)
	}
	if rec == nil {
		e.decision.Action, e.decision.Reason = Started, noWorker
		w, err := e.start(ctx, claim, nil)
		return w, 0, err
	}
	return e.succeed(ctx, claim, rec)
}

// The reasons that Attach and Explain have in common.
const (
	noWorker     = "no worker has this name"
	backAndForth = "an end of the replacing back and forth of two configurations"
)

func isGone(rec *lifecycle.Record) string {
	return fmt.Sprintf("worker %d, which had this name, is gone", rec.Pid())
}

// checkInside refuses to start or replace the worker from within itself.
func (e *election) checkInside() error {
	if e.registry.IsInside(e.name) {
		return fmt.Errorf("%w: this process runs inside the worker that it would start", lifecycle.ErrNested)
	}
	return nil
}

// succeed puts a new worker in the place of the recorded one, which has another
// configuration or does not answer.
func (e *election) succeed(ctx context.Context, claim *lifecycle.Claim, rec *lifecycle.Record) (*Worker, time.Duration, error) {
	print, err := e.fingerprint(rec)
	if err != nil {
		return nil, 0, err
	}
	diff := rec.Fingerprint.Diff(print)
	if rec.ID == e.unfit {
		diff = append(diff, e.misfit)
	}
	var old *Worker
	if rec.ID != e.silent && (e.restart || len(diff) > 0) {
		if old, err = e.reach(ctx, rec, ""); err != nil {
			return nil, 0, err
		}
	}
	past := rec.Past
	switch {
	case old != nil:
		// It stays connected to until the new one has the name; then it finds out.
		defer old.Close()
		if pause := rec.Contention(print, time.Now()); pause > 0 {
			return nil, min(pause, maxLookPause), e.contested(ctx, pause, rec, diff)
		}
		e.decision.Differences = diff
		e.replaces(rec, change(diff))
		past = rec.Supersede(time.Now())
	case rec.ID == e.silent:
		e.replaces(rec, fmt.Sprintf("it did not answer for %v", e.dialer.answerTimeout())+e.kill(rec))
	case rec.ID == e.busy && rec.Lives():
		e.decision.WaitedFor = fmt.Sprintf("worker %d, which turns connections away", rec.Pid())
		return nil, 0, nil
	default:
		e.decision.Action, e.decision.Reason = Started, isGone(rec)
	}
	w, err := e.start(ctx, claim, past)
	return w, 0, err
}

func (e *election) replaces(rec *lifecycle.Record, reason string) {
	e.decision.Action, e.decision.Previous = Replaced, rec.Pid()
	e.decision.Reason = fmt.Sprintf("worker %d: %s", rec.Pid(), reason)
}

// kill ends a worker that hangs, if its process is known to be it, and returns
// how that went.
func (e *election) kill(rec *lifecycle.Record) string {
	if !rec.Lives() {
		return "; the process that is recorded is gone, and no other was touched"
	}
	p := rec.Open(nil)
	defer p.Release()
	if err := p.KillBecause("it did not answer"); err != nil {
		return fmt.Sprintf(", and could not be killed (%v)", err)
	}
	return ", and was killed"
}

// contested says that a replacement has to wait, and fails if ctx does not leave
// the time.
func (e *election) contested(ctx context.Context, pause time.Duration, rec *lifecycle.Record, diff []lifecycle.Difference) error {
	e.decision.WaitedFor = backAndForth
	pause = pause.Round(time.Millisecond)
	what := fmt.Sprintf("(%s): use different names, or the same configuration", sentence(diff))
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause {
		return fmt.Errorf("%w %s; worker %d could be replaced in %v", ErrContested, what, rec.Pid(), pause)
	}
	if !e.warned {
		e.warned = true
		e.log().Warnf("%q: %v %s; worker %d is replaced in %v", e.name, ErrContested, what, rec.Pid(), pause)
	}
	return nil
}

// change says why a worker is replaced that answers.
func change(diff []lifecycle.Difference) string {
	if len(diff) == 0 {
		return "a restart was asked for"
	}
	return "its configuration is another one: " + sentence(diff)
}

func sentence(diff []lifecycle.Difference) string {
	var parts []string
	for _, d := range diff {
		parts = append(parts, d.String())
	}
	return strings.Join(parts, "; ")
}

// start starts a worker and publishes it once it has answered.
func (e *election) start(ctx context.Context, claim *lifecycle.Claim, past []lifecycle.Past) (*Worker, error) {
	print, err := e.fingerprint(nil)
	if err != nil {
		return nil, err
	}
	e.registry.Sweep()
	proc, err := claim.Start(ctx, e.cmd)
	if err != nil {
		return nil, err
	}
	failpoint.Here(failpoint.Started)
	w := newStarted(e.dialer, e.cmd.Build, proc, true)
	if err := w.start(ctx, e.cmd.StartLimit()); err != nil {
		return nil, err
	}
	failpoint.Here(failpoint.Answered)
	if err := publish(claim, w, print, past); err != nil {
		return nil, errors.Join(err, w.Kill())
	}
	return w, nil
}

func publish(claim *lifecycle.Claim, w *Worker, print *lifecycle.Fingerprint, past []lifecycle.Past) error {
	rec, err := w.proc.Record(w.Welcome().Pid, print)
	if err != nil {
		return err
	}
	rec.Past = past
	err = claim.Publish(rec)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = fmt.Errorf("%w; the runtime directory can't be written to", err)
	}
	return err
}

// tell keeps and logs the decision.
func (e *election) tell(w *Worker) {
	w.decision = e.decision
	e.log().WithFields(logrus.Fields{workerField: w.Name(), pidField: w.Pid()}).Debugf("attach to %q: %s", e.name, e.decision)
}
