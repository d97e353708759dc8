package harness

import (
	"context"
	"errors"
	"os/exec"
	"time"
)

// cold measures one start, from its beginning to the first reply.
func cold(ctx context.Context, s System, _ options) (Metrics, error) {
	began := time.Now()
	w, c, err := started(ctx, s)
	if err != nil {
		return nil, err
	}
	if _, err := c.Echo(ctx, payload(small)); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	m := Metrics{"start": float64(time.Since(began))}
	return m, w.Close()
}

// spawn measures one start of any program, named by the key "program", to its
// end. It is to a cold start what the floor is to a call.
func spawn(ctx context.Context, _ System, o options) (Metrics, error) {
	began := time.Now()
	if err := exec.CommandContext(ctx, o["program"]).Run(); err != nil {
		return nil, err
	}
	return Metrics{"start": float64(time.Since(began))}, nil
}

// cli is a short-lived program that finds a warm worker.
func cli(ctx context.Context, s System, args []string) error {
	if len(args) != 1 || s.Attach == nil {
		return errors.New("it takes an address, and a system that can attach")
	}
	w, err := s.Attach(ctx, args[0])
	if err != nil {
		return err
	}
	c, err := w.Caller(ctx)
	if err != nil {
		return err
	}
	return errors.Join(checked(ctx, c, payload(small)), w.Close())
}
