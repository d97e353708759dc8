package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/lifecycle"
)

// finderCommand is the command, not meant for users, with which this program plays a program that attaches to a worker.
const finderCommand = "tour-finder"

// runFinder attaches to a shared worker, calls it, says on stdout which it was and why, and lets go of it. Its arguments
// are the worker's program, the shared name, and a setting.
func runFinder(ctx context.Context, args []string, stdout io.Writer, _ *os.File) error {
	if len(args) != 3 {
		return errors.New(finderCommand + " is for the tour only")
	}
	d := client.Dialer{Logger: newLogger(&display{out: io.Discard}, false)}
	w, err := d.Attach(ctx, args[1], &lifecycle.Command{Path: args[0], Config: args[2], IdleTimeout: time.Minute})
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := client.Call(ctx, w, api.Square, api.SquareRequest{N: 2}); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(newArrival(w.Pid(), true, w.Decision()))
}

func (t *tour) visitAttach(ctx context.Context) error {
	name := fmt.Sprintf("demo-parent tour %d", os.Getpid())
	defer t.stopShared(ctx, name)
	first, err := t.find(ctx, name, "red", client.Started)
	if err != nil {
		return err
	}
	second, err := t.find(ctx, name, "red", client.Reused)
	if err != nil {
		return err
	}
	if second.Pid != first.Pid {
		return errors.New("it is another worker")
	}
	third, err := t.find(ctx, name, "blue", client.Replaced)
	if err != nil {
		return err
	}
	if third.Pid == first.Pid {
		return errors.New("it is the same worker")
	}
	if !await(ctx, func() bool { return !alive(first.Pid) }) {
		return fmt.Errorf("pid %d, which nobody uses any more, is still there", first.Pid)
	}
	t.saw("pid %d, which nobody uses any more, has left", first.Pid)
	return nil
}

// find runs a program that attaches, and says what it has found.
func (t *tour) find(ctx context.Context, name, setting string, wanted client.Action) (found arrival, err error) {
	self, err := os.Executable()
	if err != nil {
		return found, err
	}
	began := time.Now()
	finder := exec.CommandContext(ctx, self, finderCommand, t.command.Path, name, setting)
	var trouble bytes.Buffer
	finder.Stderr = &trouble
	out, err := finder.Output()
	if err != nil {
		return found, fmt.Errorf("%w: %s", err, bytes.TrimSpace(trouble.Bytes()))
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return found, err
	}
	t.did("run a program that attaches with the setting %q, calls the worker and ends, all in %s", setting, short(time.Since(began)))
	t.saw("pid %d: %s", found.Pid, found.Decision)
	if found.Action != wanted {
		return found, fmt.Errorf("it should have been %s", wanted)
	}
	return found, nil
}

// stopShared ends the worker that the programs have left, if there is one.
func (t *tour) stopShared(ctx context.Context, name string) {
	// What a stop that has failed has left is not worth another message, and leaves by itself after a minute.
	_ = t.dialer.Stop(context.WithoutCancel(ctx), name)
}
