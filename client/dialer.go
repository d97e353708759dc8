package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// DefaultTimeout is the per-message timeout where none is set.
const DefaultTimeout = 30 * time.Second

// Dialer has the settings for workers and the calls on them. The zero Dialer
// works. It is copied on use.
type Dialer struct {
	// Timeout is the per-message timeout: for a unary call from its hand-over
	// to the worker to the reply, for a stream between two messages. It bounds
	// writing as well as reading, and ends the handler's context too. Zero
	// means [DefaultTimeout], 30 s; negative means none.
	Timeout time.Duration

	// MethodTimeout overrides Timeout for the methods named. Zero means
	// Timeout; negative means none.
	MethodTimeout map[string]time.Duration

	// MaxMessage limits, in bytes, each message in either direction. Zero
	// means [transport.DefaultMaxMessage], 16 MiB; negative means none but the
	// format's, 2 GiB. The worker has a limit of its own; the lower counts.
	MaxMessage int

	// Strict refuses replies with fields that the reply's type has not.
	Strict bool

	// Logger takes what workers print and log, with the fields worker and pid;
	// text at info level, log entries at their own. The library's own remarks
	// are at debug level. Nil means logrus's standard logger, so that output is
	// visible by default. A slow logger loses output and says how much; it
	// never slows a worker.
	Logger logrus.FieldLogger

	// PastOutput is how much, in bytes, of what an attached worker has printed
	// before goes to the logger, from the first whole line on. Zero means
	// nothing; negative means all that is kept, about 4 to 8 MiB. A worker that
	// was started just now shows everything.
	PastOutput int64

	// AnswerTimeout is how long [Dialer.Attach] waits for a worker that takes
	// the connection and does not answer, because it is stopped or hangs, before
	// it kills and replaces it. Zero means 10 s; negative means no limit but
	// the context.
	AnswerTimeout time.Duration

	// Observer makes connections that do not count as clients: an idle worker
	// leaves all the same.
	Observer bool

	// RuntimeDir is where workers are looked for, and where those are started
	// whose command names no other. Empty means the default of
	// [lifecycle.RuntimeDir].
	RuntimeDir string
}

var errNoCommand = fmt.Errorf("start worker: the command is nil: %w", fs.ErrInvalid)

// Start starts a worker with the settings of the zero [Dialer].
func Start(ctx context.Context, cmd *lifecycle.Command) (*Worker, error) {
	return new(Dialer).Start(ctx, cmd)
}

// Start starts a worker and returns when it is ready to be called. The worker
// is the caller's: Close stops it, and it leaves by itself when its owner, by
// default this process, has died. ctx bounds the start only, as does
// cmd.StartTimeout.
//
// A program that can't be started is an error of [lifecycle.Command.Start];
// one that was started and did not get ready is a [*StartError]. Either way
// nothing is left behind.
func (d *Dialer) Start(ctx context.Context, cmd *lifecycle.Command) (*Worker, error) {
	if cmd == nil {
		return nil, errNoCommand
	}
	described := d.describe(cmd)
	proc, err := described.Start(ctx)
	if err != nil {
		return nil, err
	}
	w := newStarted(d, described.Build, proc, false)
	if err := w.start(ctx, described.StartLimit()); err != nil {
		return nil, err
	}
	return w, nil
}

// describe returns a copy of the command with what it leaves to the dialer.
func (d *Dialer) describe(cmd *lifecycle.Command) *lifecycle.Command {
	described := *cmd
	described.LogLevel = cmp.Or(cmd.LogLevel, levelOf(d.logger()))
	described.RuntimeDir = cmp.Or(cmd.RuntimeDir, d.RuntimeDir)
	return &described
}

func (d *Dialer) logger() logrus.FieldLogger {
	if d.Logger == nil {
		return logrus.StandardLogger()
	}
	return d.Logger
}

// levelOf returns the level that a worker's entries need to be seen.
func levelOf(l logrus.FieldLogger) string {
	switch l := l.(type) {
	case *logrus.Logger:
		return l.GetLevel().String()
	case *logrus.Entry:
		return l.Logger.GetLevel().String()
	}
	return ""
}

// limit returns the per-message timeout of a call; 0 means none.
func (d *Dialer) limit(req *Request) time.Duration {
	limit := req.Timeout
	if limit == 0 {
		limit = d.MethodTimeout[req.Method]
	}
	if limit == 0 {
		limit = d.Timeout
	}
	if limit == 0 {
		limit = DefaultTimeout
	}
	return max(0, limit)
}

// The pauses between attempts to reach a worker that does not listen yet grow
// with the time that it has taken, of which they are a part, so that little is
// lost by the last one. After patience they grow beyond maxDialDelay, because
// by then it is no start that is waited for but a worker that takes its time to
// leave.
const (
	minDialDelay  = 50 * time.Microsecond
	maxDialDelay  = 5 * time.Millisecond
	lateDelay     = 100 * time.Millisecond
	patience      = 10 * time.Second
	dialDelayPart = 16 // of the time so far
)

// dial tries until the worker has answered the handshake, ctx ends, or the
// worker gives an answer that trying again won't change. Before each attempt
// but the first it calls between.
func dial(ctx context.Context, path string, cfg transport.DialConfig, between func()) (*transport.Conn, error) {
	for began := time.Now(); ; {
		conn, err := transport.Dial(ctx, path, cfg)
		if err == nil || final(err) {
			return conn, err
		}
		if !pauseToDial(ctx, time.Since(began)) {
			return nil, unready(err)
		}
		between()
	}
}

// pauseToDial waits for the next attempt, and returns false if ctx ends first.
func pauseToDial(ctx context.Context, elapsed time.Duration) bool {
	limit := maxDialDelay
	if elapsed > patience {
		limit = lateDelay
	}
	delay := min(max(elapsed/dialDelayPart, minDialDelay), limit)
	if delay < time.Millisecond {
		nap(delay)
		return ctx.Err() == nil
	}
	select {
	case <-time.After(delay):
		return true
	case <-ctx.Done():
		return false
	}
}

// final reports whether a dialling error will stay.
func final(err error) bool {
	_, refused := errors.AsType[*transport.MismatchError](err)
	return refused || errors.Is(err, transport.ErrProtocol)
}

// unready tells a worker that does not listen from one that does not answer.
func unready(err error) error {
	if errors.Is(err, ErrNoAnswer) {
		return ErrNoAnswer
	}
	return ErrNotListening
}
