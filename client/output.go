package client

import (
	"os"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/lifecycle"
)

var pid = os.Getpid()

// The fields that every line of a worker's output has.
const (
	workerField = "worker"
	pidField    = "pid"
)

// output hands a worker's output to the logger. It reads the spool itself, when
// the worker rings; a slow logger holds up nobody else.
type output struct {
	log   logrus.FieldLogger
	tasks *sync.WaitGroup

	reading sync.Mutex // held while the reader and the logger are in use
	reader  *lifecycle.OutputReader

	mu      sync.Mutex // protects what follows
	due     bool       // there may be something to read
	running bool       // a goroutine is reading
	ended   bool       // nothing will come any more

	// Who reads the output besides, see [Worker.Lines]. Each channel has room for
	// one, is sent to by wake, and is never closed.
	readers map[chan struct{}]struct{}
}

// begin sets what is read and who takes it. Before that wake does nothing.
func (o *output) begin(proc *lifecycle.Process, log logrus.FieldLogger, reader *lifecycle.OutputReader) {
	o.reading.Lock()
	defer o.reading.Unlock()
	o.log = log.WithFields(logrus.Fields{workerField: proc.Name(), pidField: proc.Pid()})
	o.reader = reader
}

// wake sees to it that what has been written is logged. It never blocks.
func (o *output) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due = true
	for reader := range o.readers {
		select {
		case reader <- struct{}{}:
		default: // it has not yet seen to the last one
		}
	}
	if !o.running && !o.ended {
		o.running = true
		o.tasks.Go(o.run)
	}
}

// run logs until there is nothing more now.
func (o *output) run() {
	for o.more() {
		o.reading.Lock()
		o.writeAll()
		o.reading.Unlock()
	}
}

// writeAll logs the complete lines that there are; reading is held.
func (o *output) writeAll() {
	if o.reader == nil {
		return
	}
	for line, ok := o.reader.Next(); ok; line, ok = o.reader.Next() {
		o.write(line)
	}
}

// drain logs the complete lines that there are, in a goroutine, and nothing more
// after that. The worker goes on.
func (o *output) drain() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	o.tasks.Go(func() {
		o.reading.Lock()
		defer o.reading.Unlock()
		o.writeAll()
	})
}

func (o *output) more() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	more := o.due && !o.ended
	o.due = false
	o.running = more
	return more
}

// finish logs the rest, an unfinished line included. The worker is gone.
func (o *output) finish() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	o.reading.Lock()
	defer o.reading.Unlock()
	o.writeAll()
	if o.reader == nil {
		return
	}
	for line, ok := o.reader.Flush(); ok; line, ok = o.reader.Flush() {
		o.write(line)
	}
}

func (o *output) write(line lifecycle.Line) {
	switch {
	case line.Entry != nil:
		o.writeEntry(line.Entry)
	case line.Lost > 0:
		o.log.Warnf("%d bytes of the worker's output were lost: they came faster than they were read", line.Lost)
	default:
		o.log.Info(line.Text)
	}
}

func (o *output) writeEntry(e *lifecycle.Entry) {
	fields := make(logrus.Fields, len(e.Fields))
	for k, v := range e.Fields {
		if k == workerField || k == pidField {
			k = "fields." + k // as logrus does with fields that clash
		}
		fields[k] = v
	}
	level, err := logrus.ParseLevel(e.Level)
	if err != nil {
		level = logrus.InfoLevel
	}
	// At panic level logrus would panic in this process.
	o.log.WithFields(fields).WithTime(e.Time).Log(max(level, logrus.FatalLevel), e.Message)
}
