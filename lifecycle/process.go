package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	socketName = "s"
	// killWait bounds the wait for a killed process to be gone. The kernel may need long to tear down a big one.
	killWait = 30 * time.Second
	// exitMargin is what Stop gives a worker beyond its grace, so that the worker's own orderly exit comes first.
	exitMargin = 2 * time.Second
)

// Process is a worker that [Command.Start] started, or that [Record.Open] found. All methods are safe for concurrent use,
// in any state. Nothing needs to be called for correctness: the process is reaped and cleaned up after without being asked,
// and a worker whose starter ends is on its own.
type Process struct {
	addr    Address
	program string
	shared  *sharing      // nil if the worker is its starter's alone, or was found
	grace   time.Duration // negative means none
	limits  Limits
	cmd     *exec.Cmd // nil if the process was found
	found   *found    // nil if the process was started
	inst    *instance
	spool   *os.File // stays reachable as long as the Process, and with it its descriptor; nil if a found one's is not known
	oom     oomCounter
	started time.Time

	readyOnce sync.Once
	ready     chan struct{} // closed by Ready
	reaped    chan struct{} // closed by watch after the process has been waited for
	done      chan struct{} // closed by watch when nothing is left
	askOnce   sync.Once
	asked     chan struct{} // closed by ExitAsked

	mu         sync.Mutex // protects what follows
	reason     string     // why it is being killed
	terminated bool       // SIGTERM was sent

	err *ExitError // written by watch before it closes done
}

func newProcess(addr Address, program string, spool *os.File, started time.Time) *Process {
	return &Process{
		addr: addr, program: program, spool: spool, started: started,
		ready: make(chan struct{}), reaped: make(chan struct{}), done: make(chan struct{}), asked: make(chan struct{}),
	}
}

// Name returns the worker's name.
func (p *Process) Name() string { return p.addr.Name }

// Pid returns the process id. After the process's end it is only a number: never signal it.
func (p *Process) Pid() int {
	if p.found != nil {
		return p.found.id.Pid
	}
	return p.cmd.Process.Pid
}

// Address returns what it takes to reach the worker.
func (p *Process) Address() Address { return p.addr }

// ID returns the random id of the instance, 16 hexadecimal digits.
func (p *Process) ID() string { return p.addr.ID }

// Dir returns the instance directory. It is removed before Done is closed.
func (p *Process) Dir() string { return p.addr.Dir }

// Socket returns the path at which the worker is to listen. There is nothing until it does.
func (p *Process) Socket() string { return p.addr.Socket() }

// Secret returns a copy of the instance's secret, 32 random bytes that only those know who may call the worker.
func (p *Process) Secret() []byte { return slices.Clone(p.addr.Secret) }

// Ready says that the worker has answered. It ends the start phase: until then the worker's process is killed by the
// kernel should its starter die, whatever program it is; from then on it is on its own. Calls after the first do nothing.
func (p *Process) Ready() {
	p.readyOnce.Do(func() { close(p.ready) })
}

// Done returns a channel that is closed when the process has been reaped and its leftovers are gone: its descendants, its
// socket, its directory. A process that was found is not reaped here, and its leftovers are seen to by its starter if that
// lives.
func (p *Process) Done() <-chan struct{} {
	if p.found != nil {
		p.found.watch(p)
	}
	return p.done
}

// Err returns nil before Done is closed, and then always an [*ExitError], also for an exit with status 0.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Terminate sends SIGTERM to the process (on Windows it kills it). A process that is over already gives
// [os.ErrProcessDone], one that was found and cannot be proven to be the worker's [ErrNotProven]; nil says nothing about
// whether it will obey.
func (p *Process) Terminate() error {
	target, err := p.target()
	if err != nil {
		return err
	}
	if err := terminate(target); err != nil {
		return err
	}
	p.mu.Lock()
	p.terminated = true
	p.mu.Unlock()
	return nil
}

// dumpWait bounds the wait for a program that was asked for its stacks.
const dumpWait = time.Second

// KillWithStacks is KillBecause for a process that hangs: it first sends SIGQUIT, upon which a Go program prints the
// stacks of its goroutines and exits, also if it was stopped, and waits a second for that. On Windows it just kills.
func (p *Process) KillWithStacks(reason string) error {
	if target, err := p.target(); err == nil && quit(target) == nil {
		p.gone(context.Background(), dumpWait)
	}
	return p.KillBecause(reason)
}

// ExitAsked notes that the worker has been asked to exit by other means than a signal, by a message say. A Stop that
// follows gives it its grace before it sends SIGTERM.
func (p *Process) ExitAsked() {
	p.askOnce.Do(func() { close(p.asked) })
}

// Kill ends the process now, with everything below it, and returns when all is gone. The error is nil if it is, also if
// it was before.
func (p *Process) Kill() error {
	return p.KillBecause("killed on request")
}

// KillBecause is Kill with a reason for [ExitError.Killed]. Of several reasons the first counts.
func (p *Process) KillBecause(reason string) error {
	target, err := p.target()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill worker %s: %w", p.Name(), err)
	}
	p.condemn(reason)
	if err == nil {
		killTree(target, p.addr.ID)
	}
	if !p.gone(context.Background(), killWait) {
		return fmt.Errorf("kill worker %s (pid %d): not gone after %v", p.Name(), p.Pid(), killWait)
	}
	return nil
}

// condemn notes why the process is going to be killed, unless it is over already.
func (p *Process) condemn(reason string) {
	select {
	case <-p.reaped:
		return
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == "" {
		p.reason = reason
	}
}

// Stop ends the process politely and returns when it is gone. If ExitAsked was called it gives the worker its grace;
// then it sends SIGTERM and gives it its grace again; then it kills, which forced reports. When ctx ends it goes on to
// kill at once. The error is nil if the process is gone.
func (p *Process) Stop(ctx context.Context) (forced bool, err error) {
	patience := max(p.graceTime(), 0) + exitMargin
	if p.exitAsked() && p.gone(ctx, patience) {
		return false, nil
	}
	if err := p.Terminate(); err == nil || errors.Is(err, os.ErrProcessDone) {
		if p.gone(ctx, patience) {
			return false, nil
		}
	}
	return true, p.KillBecause(stopReason(ctx, patience))
}

// graceTime returns the worker's grace, which of one that was found stands in its launch file.
func (p *Process) graceTime() time.Duration {
	if p.found != nil {
		if l, err := readLaunch(p.addr.Dir); err == nil {
			return l.Grace
		}
	}
	return p.grace
}

func stopReason(ctx context.Context, patience time.Duration) string {
	if ctx.Err() != nil {
		return "killed because the time for a polite stop was up"
	}
	return fmt.Sprintf("killed because it did not exit within %v after SIGTERM", patience)
}

func (p *Process) exitAsked() bool {
	select {
	case <-p.asked:
		return true
	default:
		return false
	}
}

// gone waits for Done and returns whether it came in time.
func (p *Process) gone(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if p.found != nil {
		defer p.found.hold()()
	}
	select {
	case <-p.Done():
		return true
	case <-ctx.Done():
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// CloseOutput closes the file of the process's output, so that it need not wait for the garbage collector. Nothing can be
// read from it afterwards. It does nothing to a process that was started and has not ended.
func (p *Process) CloseOutput() {
	if p.spool == nil || p.found == nil && p.Err() == nil {
		return
	}
	p.spool.Close()
}

// Output returns a new reader of the worker's output, from its beginning or from what is left of it. It can be used as
// long as wanted, also after Done.
//
// Of a process that was found without its output there is nothing to read.
func (p *Process) Output() *OutputReader {
	if p.spool == nil {
		return &OutputReader{src: noOutput{}}
	}
	return NewOutputReader(p.spool)
}

// LastOutput returns the newest output as plain text lines, at most 64 KiB, beginning with a whole line; log entries are
// rendered as in [ExitError.Output].
func (p *Process) LastOutput() []byte {
	return lastOutput(p.Output(), false)
}

// watch owns the process from its start to its end.
func (p *Process) watch(holder *sync.WaitGroup) {
	awaitExit(p.cmd.Process.Pid)
	_ = p.cmd.Wait() // the state says it all
	elapsed := time.Since(p.started)
	close(p.reaped)
	holder.Wait()
	full := noSpace(p.spool) // before room is made
	left := !p.inst.cleanUp()
	code, sig := status(p.cmd.ProcessState)
	p.err = p.exitError(code, sig, elapsed, full)
	p.err.left = left
	close(p.done)
}

func (p *Process) exitError(code int, sig syscall.Signal, elapsed time.Duration, full bool) *ExitError {
	crash := crashed(code, sig)
	last := readTail(p.Output(), crash, crash || p.limits.toldOf())
	output := last.bytes()
	if full {
		output = append(output, "... (the file system of the output is full: lines may be missing)\n"...)
	}
	e := &ExitError{
		Name: p.Name(), Pid: p.Pid(), Code: code, Signal: sig, Elapsed: elapsed, Ready: p.isReady(), Output: output,
		Killed: p.killed(sig, code), limits: p.limits,
	}
	e.OutOfMemory = crash && saysOutOfMemory(output, p.limits.Memory > 0) || e.Killed == "" && sig == syscall.SIGKILL && p.oom.grew()
	e.Limit = p.exceeded(e, last.limit)
	return e
}

// exceeded returns the limit for which the process is known to have ended, the one that it has said itself if it did.
func (p *Process) exceeded(e *ExitError, said string) string {
	killed := e.Signal == syscall.SIGKILL
	switch {
	case said != "":
		return said
	case e.OutOfMemory && !killed && p.limits.Memory > 0:
		return LimitMemory
	case killed && e.Killed == "" && !e.OutOfMemory && p.limits.CPU > 0 && p.usedCPU() >= p.limits.CPU+exitMargin/2:
		return LimitCPU // by the kernel, because the process could not do anything any more
	}
	return ""
}

// usedCPU returns the processor time of a process that has been waited for, and of those that it has waited for itself.
func (p *Process) usedCPU() time.Duration {
	if p.cmd == nil || p.cmd.ProcessState == nil {
		return 0
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// killed returns why this starter ended the process, if the way it ended shows that it did.
func (p *Process) killed(sig syscall.Signal, code int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.reason != "" && (killedByUs(sig, code) || sig == unknownSignal):
		return p.reason
	case p.terminated && sig == syscall.SIGTERM:
		return "SIGTERM was sent on request"
	}
	return ""
}

func (p *Process) isReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}
