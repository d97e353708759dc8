package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// ErrNoWorker reports that no worker has the name that was asked for.
var ErrNoWorker = errors.New("no such worker")

// ErrAmbiguous reports that several workers have the name that was asked for.
var ErrAmbiguous = errors.New("several workers have this name")

// Info is what is known of a worker of this user, whoever has started it.
type Info struct {
	// Name is the name under which the worker is shared, or else its own.
	Name    string `json:"name"`
	Shared  bool   `json:"shared"`
	ID      string `json:"id"`      // of the instance
	Pid     int    `json:"pid"`     // 0 if it is not known
	Program string `json:"program"` // path
	Owner   int    `json:"owner"`   // pid of the process whose death ends it, 0 if there is none

	// Displaced is whether clients do not find a shared worker any more: it only
	// serves those it has, or it has not got its name yet.
	Displaced bool `json:"displaced,omitempty"`

	// Fingerprint is the short name of a shared worker's configuration.
	Fingerprint string    `json:"fingerprint,omitempty"`
	Started     time.Time `json:"started"`

	// Status is what the worker says of itself, nil if it does not answer; then
	// Trouble says why.
	Status  *transport.Status `json:"status,omitempty"`
	Trouble string            `json:"trouble,omitempty"`

	// Usage is what the process uses, zero where the system does not tell.
	Usage lifecycle.Usage `json:"usage"`
}

// answerTime bounds the wait for each worker that is looked at.
const answerTime = 2 * time.Second

// List returns the workers of this user that live, in the order of their names,
// with the settings of the zero [Dialer].
func List(ctx context.Context) ([]Info, error) { return new(Dialer).List(ctx) }

// List returns the workers in d.RuntimeDir that live, in the order of their
// names. It asks each for its status, all at once, as an observer, and waits
// up to 2 s for the answers.
func (d *Dialer) List(ctx context.Context) ([]Info, error) {
	instances, err := lifecycle.Instances(d.RuntimeDir)
	if err != nil {
		return nil, err
	}
	instances = slices.DeleteFunc(instances, func(i *lifecycle.Instance) bool { return !i.Alive })
	list := make([]Info, len(instances))
	var wg sync.WaitGroup
	for i, instance := range instances {
		wg.Go(func() { list[i] = d.inspect(ctx, instance) })
	}
	wg.Wait()
	slices.SortFunc(list, func(a, b Info) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return list, nil
}

// inspect asks one worker.
func (d *Dialer) inspect(ctx context.Context, i *lifecycle.Instance) Info {
	info := Info{
		Name: i.DisplayName(), Shared: i.SharedName != "", ID: i.ID, Program: i.Program, Owner: i.Owner, Started: i.Created,
		Displaced: i.SharedName != "" && i.Record == nil,
	}
	if i.Record != nil {
		info.Pid, info.Started, info.Fingerprint = i.Record.Pid(), i.Record.Started, i.Record.Fingerprint.Sum()
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	status, pid, err := ask(ctx, i)
	if err == nil {
		info.Status, info.Pid = &status, pid
	} else {
		info.Trouble = plainTrouble(err)
	}
	if info.Pid == 0 {
		if p, err := i.Process(); err == nil {
			info.Pid = p.Pid()
		}
	}
	if info.Pid != 0 {
		info.Usage = lifecycle.ReadUsage(info.Pid)
	}
	return info
}

// ask gets the status over a connection of its own.
func ask(ctx context.Context, i *lifecycle.Instance) (status transport.Status, pid int, err error) {
	hello := transport.Hello{Instance: i.ID, Secret: i.Secret, Pid: os.Getpid(), Features: []string{transport.FeatureObserver}}
	conn, err := transport.Dial(ctx, i.Socket(), transport.DialConfig{Hello: hello})
	if err != nil {
		return status, 0, err
	}
	defer conn.Close()
	data, err := conn.Call(ctx, transport.Request{Method: string(transport.MethodStatus)})
	if err == nil {
		err = transport.Codec{}.Decode(data, &status)
	}
	return status, conn.Welcome().Pid, err
}

func plainTrouble(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "does not answer"
	case errors.Is(err, transport.ErrNoHandshake), errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "is starting or leaving"
	}
	return err.Error()
}

// Find is [Dialer.Find] with the settings of the zero [Dialer].
func Find(ctx context.Context, name string) (*Worker, error) { return new(Dialer).Find(ctx, name) }

// Find attaches to a running worker of any program of this user and starts
// none. name is the name under which it is shared, or else its own name, its
// pid, or the id of the instance. Of several with that name the one that is found by
// clients counts. Errors wrap [ErrNoWorker], [ErrAmbiguous], or say why the
// worker can't be reached within d.AnswerTimeout.
func (d *Dialer) Find(ctx context.Context, name string) (*Worker, error) {
	i, err := d.instance(name)
	if err != nil {
		return nil, err
	}
	w := newAttached(d, i.Address, "")
	w.decision = Decision{Action: Reused, Reason: "it was asked for by name"}
	if err := w.meet(ctx, d.answerTimeout(), func(output *os.File, pid int) *lifecycle.Process { return open(i, pid, output) }); err != nil {
		return nil, fmt.Errorf("find worker %q: %w", name, err)
	}
	return w, nil
}

func open(i *lifecycle.Instance, pid int, output *os.File) *lifecycle.Process {
	if i.Record != nil {
		return i.Record.Open(output)
	}
	return lifecycle.OpenProcess(i.Address, pid, output)
}

// instance returns the worker that the name means.
func (d *Dialer) instance(name string) (*lifecycle.Instance, error) {
	instances, err := lifecycle.Instances(d.RuntimeDir)
	if err != nil {
		return nil, err
	}
	matching := slices.DeleteFunc(instances, func(i *lifecycle.Instance) bool { return !i.Alive || !matches(i, name) })
	if i := slices.IndexFunc(matching, func(i *lifecycle.Instance) bool { return i.SharedName == name && i.Record != nil }); i >= 0 {
		return matching[i], nil
	}
	switch len(matching) {
	case 0:
		return nil, fmt.Errorf("%q: %w", name, ErrNoWorker)
	case 1:
		return matching[0], nil
	}
	var ids []string
	for _, i := range matching {
		ids = append(ids, i.ID)
	}
	return nil, fmt.Errorf("%q: %w: say which by its id (%s) or pid", name, ErrAmbiguous, strings.Join(ids, ", "))
}

func matches(i *lifecycle.Instance, name string) bool {
	if i.DisplayName() == name || i.ID == name {
		return true
	}
	pid, err := strconv.Atoi(name)
	if err != nil || pid <= 0 {
		return false
	}
	p, err := i.Process()
	return err == nil && p.Pid() == pid
}

// Status asks the worker about itself.
func (w *Worker) Status(ctx context.Context) (transport.Status, error) {
	return Call(ctx, w, transport.MethodStatus, struct{}{})
}

// Methods returns the worker's methods, those that every worker has included.
func (w *Worker) Methods(ctx context.Context) ([]transport.MethodInfo, error) {
	return Call(ctx, w, transport.MethodMethods, struct{}{})
}

// Stacks returns the stacks of the worker's goroutines, as Go prints them.
func (w *Worker) Stacks(ctx context.Context) (string, error) {
	return Call(ctx, w, transport.MethodStacks, struct{}{})
}

// Stop ends a worker of any program as [Worker.Stop] does, found as
// [Dialer.Find] does. One that does not answer within d.AnswerTimeout, here 2 s
// if it is zero, is ended by signals.
func (d *Dialer) Stop(ctx context.Context, name string) error {
	observer := *d
	observer.Observer = true
	if observer.AnswerTimeout == 0 {
		observer.AnswerTimeout = answerTime
	}
	w, err := observer.Find(ctx, name)
	if err == nil {
		defer w.Close()
		return w.Stop(ctx)
	}
	p, findErr := d.process(name, err)
	if findErr != nil {
		return findErr
	}
	defer p.Release()
	forced, err := p.Stop(ctx)
	if err == nil && forced {
		err = fmt.Errorf("stop worker %q (pid %d): %w", name, p.Pid(), ErrForced)
	}
	return err
}

// Kill ends a worker of any program at once, with all processes below it,
// whether it answers or not. It does not heed ctx, because nothing is waited for
// but the end of processes that have been killed, 30 s at most.
func (d *Dialer) Kill(_ context.Context, name string) error {
	p, err := d.process(name, nil)
	if err != nil {
		return err
	}
	defer p.Release()
	if err := p.Kill(); err != nil {
		return err
	}
	if registry, err := lifecycle.OpenRegistry(d.RuntimeDir); err == nil {
		registry.Sweep() // else its name would stay there until somebody wants it
	}
	return nil
}

// process returns the process of a worker that need not answer. cause is why it
// is looked for in this way, if there is a reason.
func (d *Dialer) process(name string, cause error) (*lifecycle.Process, error) {
	if errors.Is(cause, ErrNoWorker) || errors.Is(cause, ErrAmbiguous) {
		return nil, cause
	}
	i, err := d.instance(name)
	if err != nil {
		return nil, err
	}
	p, err := i.Process()
	if errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("%q has left: %w", name, ErrNoWorker)
	}
	if err != nil {
		return nil, errors.Join(cause, fmt.Errorf("worker %q: %w", name, err))
	}
	return p, nil
}

// Restart replaces a shared worker with a new one that is started as it was: the
// new one is ready before the old one takes no more clients. It returns the new
// one, attached. [lifecycle.ErrNotShared] is the error for a worker that is its
// starter's alone.
func (d *Dialer) Restart(ctx context.Context, name string) (*Worker, error) {
	i, err := d.instance(name)
	if err != nil {
		return nil, err
	}
	cmd, err := i.Command()
	if err != nil {
		return nil, err
	}
	if i.Record == nil {
		return nil, fmt.Errorf("worker %q was replaced by another one, which has the name %q: %w", name, i.SharedName, ErrNoWorker)
	}
	e, err := newElection(d, i.SharedName, cmd)
	if err != nil {
		return nil, err
	}
	e.restart, e.only = true, i.ID
	w, err := e.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("restart %q: %w", name, err)
	}
	e.tell(w)
	return w, nil
}

// Explain returns what [Dialer.Attach] would do, without doing it. If that would
// have to wait because of what the name was used for, Waited says how long.
func (d *Dialer) Explain(ctx context.Context, name string, cmd *lifecycle.Command) (Decision, error) {
	e, err := newElection(d, name, cmd)
	if err != nil {
		return Decision{}, err
	}
	rec, err := e.registry.Lookup(name)
	if err != nil {
		return Decision{}, err
	}
	print, err := e.fingerprint(rec)
	if err != nil {
		return Decision{}, err
	}
	if rec == nil {
		return Decision{Action: Started, Reason: noWorker}, e.checkInside()
	}
	observer := *d
	observer.Observer = true
	e.dialer = &observer
	w, err := e.reach(ctx, rec, "")
	if err != nil {
		return Decision{}, err
	}
	if w != nil {
		defer w.Close()
	}
	switch diff := rec.Fingerprint.Diff(print); {
	case w == nil && rec.ID == e.silent:
		e.replaces(rec, fmt.Sprintf("it does not answer within %v", e.dialer.answerTimeout()))
	case w == nil:
		e.decision = Decision{Action: Started, Reason: isGone(rec)}
	case len(diff) > 0:
		e.replaces(rec, change(diff))
		e.decision.Differences = diff
		if pause := rec.Contention(print, time.Now()); pause > 0 {
			e.decision.Waited, e.decision.WaitedFor = pause, backAndForth
		}
	default:
		e.decision = Decision{Action: Reused, Reason: fmt.Sprintf("worker %d answers and has the same configuration", rec.Pid())}
		return e.decision, nil
	}
	return e.decision, e.checkInside()
}
