package lifecycle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Start starts the worker and returns as soon as its process runs; it does not wait until the worker is ready. ctx bounds
// Start only, never the worker's life. On error nothing was started and nothing is left behind.
//
// Start also removes the leftovers of workers that died together with their starter.
func (c *Command) Start(ctx context.Context) (*Process, error) {
	return c.startAs(ctx, nil)
}

// startAs starts the worker, as a shared one if shared is not nil.
func (c *Command) startAs(ctx context.Context, shared *sharing) (*Process, error) {
	p, err := c.start(ctx, shared)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.label(), err)
	}
	return p, nil
}

// label names what is started in a line of text. Names that are refused are left to the error that says so.
func (c *Command) label() string {
	switch {
	case c.Path != "" && !c.self && strings.ContainsFunc(c.Path, unicode.IsControl):
		return strconv.Quote(c.Path)
	case c.Path != "" && !c.self:
		return c.Path
	case checkName(c.Name) != nil:
		return "worker"
	}
	return "worker " + c.Name
}

func (c *Command) start(ctx context.Context, shared *sharing) (*Process, error) {
	if err := errors.Join(ctx.Err(), checkNested()); err != nil {
		return nil, err
	}
	cmd, err := c.command()
	if err != nil {
		return nil, err
	}
	if err := guardItself(cmd.Path); err != nil {
		return nil, err
	}
	inst, err := c.instance()
	if err != nil {
		return nil, err
	}
	p, err := c.startIn(inst, cmd, shared)
	if err != nil {
		inst.remove()
		return nil, err
	}
	return p, nil
}

func (c *Command) instance() (*instance, error) {
	runtimeDir, root, err := instanceRoot(c.RuntimeDir)
	if err != nil {
		return nil, err
	}
	sweep(root)
	inst, err := newInstance(root)
	if err == nil {
		inst.runtimeDir = runtimeDir
	}
	return inst, err
}

func (c *Command) startIn(inst *instance, cmd *exec.Cmd, shared *sharing) (*Process, error) {
	spool, err := createSpool(inst.dir)
	if err != nil {
		return nil, fmt.Errorf("create spool: %w", err)
	}
	l, err := c.launch(inst, cmd, spool, shared)
	if err != nil {
		spool.Close()
		return nil, err
	}
	cmd.Env = append(cmd.Env, envInstance+"="+inst.dir, nestedIn(l.Shared))
	cmd.Stdout, cmd.Stderr = spool, spool
	owner, err := c.writeLaunch(inst, l)
	if err != nil {
		spool.Close()
		return nil, err
	}
	if owner != nil {
		defer owner.Close()
		cmd.ExtraFiles = []*os.File{owner}
	}
	p := newProcess(Address{Name: l.Name, ID: inst.id, Dir: inst.dir, Secret: l.Secret}, string(l.Program), spool, time.Now())
	p.shared, p.grace, p.limits, p.cmd, p.inst = l.Shared, c.grace(), l.Limits, cmd, inst
	if err := p.run(); err != nil {
		spool.Close()
		return nil, err
	}
	return p, nil
}

// launch returns the launch file but for the owner.
func (c *Command) launch(inst *instance, cmd *exec.Cmd, spool *os.File, shared *sharing) (*launch, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	l := &launch{
		Version: launchVersion, Name: c.name(), Self: c.self, Secret: secret, Spool: fileIdentity(spool),
		Build: c.Build, LogLevel: c.LogLevel, IdleTimeout: max(c.IdleTimeout, 0), MaxLifetime: max(c.MaxLifetime, 0),
		Grace: c.grace(), Limits: c.Limits.whole(), Config: config, Program: rawText(programOf(cmd.Path)),
		RuntimeDir: rawText(inst.runtimeDir),
	}
	if shared != nil {
		l.Shared = shared
		shared.Args, shared.Env, shared.Dir = rawTexts(cmd.Args), rawTexts(cmd.Env), rawText(absolute(c.Dir))
		cwd, _ := os.Getwd() // without which a restarted worker gets that of who restarts it
		shared.StarterDir = rawText(cwd)
		shared.FingerprintEnv, shared.StartTimeout = c.FingerprintEnv, c.StartTimeout
	}
	return l, nil
}

// absolute returns a path that means the same in other processes; an empty one stays empty.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil && path != "" {
		return abs
	}
	return path
}

// programOf returns a path that means the same in other processes.
func programOf(path string) string {
	if path == selfPath() {
		if own, err := os.Executable(); err == nil {
			return own
		}
	}
	return path
}

// writeLaunch completes the launch file, writes it, and returns the owner's pidfd to pass on, nil where there is none.
func (c *Command) writeLaunch(inst *instance, l *launch) (*os.File, error) {
	id, file, err := c.Owner.resolve()
	if err != nil {
		return nil, err
	}
	l.Owner = id
	if file != nil {
		l.OwnerFD = firstExtraFD
	}
	if err := l.write(inst.dir); err != nil {
		if file != nil {
			file.Close()
		}
		return nil, fmt.Errorf("write launch file: %w", err)
	}
	return file, nil
}

// run starts the process and what watches it.
func (p *Process) run() error {
	p.cmd.SysProcAttr = workerAttributes()
	started := make(chan error, 1)
	var holder sync.WaitGroup
	holder.Go(func() { p.hold(started) })
	if err := <-started; err != nil {
		return unwrapPath(err)
	}
	go p.watch(&holder) // ends with the process; Done is how to wait for it
	return nil
}

// hold starts the process and keeps the thread that did until the start phase is over. During that phase the kernel kills
// the child when the thread that started it ends, which covers a starter that dies before the worker can watch it, and any
// program that never will.
func (p *Process) hold(started chan<- error) {
	thread := starters.acquire()
	defer starters.release()
	err := thread.run(p.cmd.Start)
	if err == nil {
		p.oom = countOutOfMemory(p.cmd.Process.Pid)
	}
	started <- err
	if err != nil {
		return
	}
	if !p.awaitReady() {
		return
	}
	// Behind a wrapper, a shell script say, it is the wrapper that the kernel would kill, and it cannot call that off.
	if !calledOff(p.cmd.Process.Pid, p.inst.lock) {
		<-p.reaped
	}
}

// boundEvery is how often the starter looks at the size of the spool before the worker does it.
const boundEvery = 50 * time.Millisecond

// awaitReady waits for the end of the start phase, and returns false if the process ended first. It bounds the spool
// meanwhile: the process may be a program that never will.
func (p *Process) awaitReady() bool {
	s := &spool{file: p.spool, limit: fileSizeLimit()}
	ticker := time.NewTicker(boundEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.reaped:
			return false
		case <-p.ready:
			return true
		case <-ticker.C:
			s.bound()
		}
	}
}

// unwrapPath drops "fork/exec PATH", since Start names the path itself.
func unwrapPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
