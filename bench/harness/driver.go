package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// sections are what a driver can measure.
var sections = map[string]func(context.Context, System, options) (Metrics, error){
	"latency":    latency,
	"throughput": throughput,
	"bulk":       bulk,
	"cold":       cold,
	"spawn":      spawn,
	"scale":      scale,
}

// options are the driver's arguments. Each section has defaults of its own for
// those that it knows.
type options map[string]string

func drive(ctx context.Context, s System, args []string) error {
	if len(args) == 0 || sections[args[0]] == nil {
		return fmt.Errorf("unknown section in %q", args)
	}
	opts := make(options)
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not KEY=VALUE", arg)
		}
		opts[key] = value
	}
	m, err := sections[args[0]](ctx, s, opts)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return printJSON(m)
}

// number returns a whole number, or a default.
func (o options) number(key string, otherwise int) int {
	if n, err := strconv.Atoi(o[key]); err == nil {
		return n
	}
	return otherwise
}

// duration returns how long to measure, which the key "ms" says.
func (o options) duration() time.Duration {
	return time.Duration(o.number("ms", 1000)) * time.Millisecond
}

// note tells why a metric is missing.
func note(metric string, err error) {
	fmt.Fprintf(os.Stderr, "note %s: %v\n", metric, err)
}

// payload returns n bytes, of which no cache line is like the one before.
func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// checked is an echo whose reply is looked at.
func checked(ctx context.Context, c Caller, payload []byte) error {
	reply, err := c.Echo(ctx, payload)
	if err != nil {
		return err
	}
	if !bytes.Equal(reply, payload) {
		return errors.New("the reply differs from the request")
	}
	return nil
}

// letGo closes a worker whose end is not measured.
func letGo(w Worker) {
	if err := w.Close(); err != nil {
		note("close", err)
	}
}

// started starts a worker and returns it with one caller.
func started(ctx context.Context, s System) (Worker, Caller, error) {
	w, err := s.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := w.Caller(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, w.Close())
	}
	return w, c, nil
}
