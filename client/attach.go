package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// ErrContested reports that the time was up while replacing a worker had to
// wait, because different configurations are asked for under one name again and
// again.
var ErrContested = errors.New("different configurations are asked for in turn under one name")

const defaultAnswerTimeout = 10 * time.Second

// Attach attaches to a shared worker with the settings of the zero [Dialer].
func Attach(ctx context.Context, name string, cmd *lifecycle.Command) (*Worker, error) {
	return new(Dialer).Attach(ctx, name, cmd)
}

// Attach returns the shared worker of that name: the one that this or another
// program has started before, if it answers and was started with the same
// configuration (see [lifecycle.Fingerprint]), else a new one. However many
// programs attach at once, one worker is started. [Worker.Decision] says what
// was done and why.
//
// The worker is everybody's: Close lets go of it and Stop ends it for all. It has
// no owner and leaves after 10 minutes without a client, unless cmd says
// otherwise. Where the configuration differs the new worker is ready before the
// old one takes no more clients, and the old one goes on serving those it has,
// for the DrainTimeout at most. If two configurations replace each other again
// and again, Attach waits before it takes part in that, up to 30 s; a warning
// says what differs.
//
// A worker that is reused keeps the owner, the lifetimes and the log level that
// it was started with. A ctx that ends before d.AnswerTimeout does not leave the
// time to replace a worker that does not answer.
//
// ctx bounds the operation only. Without a deadline in it Attach waits for
// cmd.StartTimeout and 30 s at most for others who have claimed the name, and
// then for cmd.StartTimeout for a worker that it starts. Errors are those of
// [Dialer.Start]; [context.DeadlineExceeded] with the name of who was waited
// for; [lifecycle.ErrNested] from within that worker, if it would have to be
// started or replaced; [ErrContested]; [lifecycle.ErrRecordVersion] if the
// worker that lives was started with another version of this module.
func (d *Dialer) Attach(ctx context.Context, name string, cmd *lifecycle.Command) (*Worker, error) {
	e, err := newElection(d, name, cmd)
	if err == nil {
		var w *Worker
		if w, err = e.run(ctx); err == nil {
			e.tell(w)
			return w, nil
		}
	}
	return nil, fmt.Errorf("attach to %q: %w", name, err)
}

// answerTimeout returns the setting with its default; 0 means no limit.
func (d *Dialer) answerTimeout() time.Duration {
	if d.AnswerTimeout == 0 {
		return defaultAnswerTimeout
	}
	return max(0, d.AnswerTimeout)
}

// newAttached returns a worker that somebody else has started, to meet.
func newAttached(d *Dialer, addr lifecycle.Address, build string) *Worker {
	w := newWorker(d, addr, build)
	w.attached = true
	return w
}

// meet connects for the first time, within limit, 0 for none. open returns the
// process, given the file of its output and the pid that it says it has.
func (w *Worker) meet(ctx context.Context, limit time.Duration, open func(output *os.File, pid int) *lifecycle.Process) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	conn, err := transport.Dial(ctx, w.addr.Socket(), w.dialConfig(w.link))
	if err != nil {
		return err
	}
	w.proc = open(conn.Output(), conn.Welcome().Pid)
	reader := w.proc.Output()
	if w.dialer.PastOutput >= 0 {
		reader.Skip(w.dialer.PastOutput)
	}
	w.output.begin(w.proc, w.dialer.logger(), reader)
	return w.connected(w.link, conn)
}
