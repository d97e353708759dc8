package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/detached-workers/unref/client"
)

// stopPatience is how long a worker that is to be stopped may take to answer before it is ended by signals.
const stopPatience = 2 * time.Second

// runStop is the command stop.
func runStop(ctx context.Context, args []string, stdout io.Writer, stderr *os.File) error {
	f := newFlags("stop", "[flags]", "Stop ends the workers that checks of the module in the current directory have left. The exit status is 0\n"+
		"if there is none left, whether there was one before or not.")
	dir := f.String("C", "", "stop those of the module in `dir`")
	everywhere := f.Bool("all", false, "stop those of all modules")
	if err := parseAlone(f, args, stdout); err != nil {
		return err
	}
	group := ""
	if !*everywhere {
		abs, err := absolute(*dir)
		if err != nil {
			return err
		}
		group = groupName(moduleDir(abs))
	}
	d := &client.Dialer{Logger: newLogger(newDisplay(stderr), false), AnswerTimeout: stopPatience}
	all, err := sharedWorkers(ctx, d)
	if err != nil {
		return err
	}
	list := ofGroup(all, group)
	if len(list) == 0 {
		_, err := fmt.Fprintln(stdout, nothingToStop(group, len(all)))
		return err
	}
	return stopWorkers(ctx, d, list, stdout)
}

// nothingToStop says that there is no worker of a group, or, if that is empty, of any, and how many others there are.
func nothingToStop(group string, others int) string {
	switch {
	case group == "":
		return "there is no worker to stop"
	case others == 0:
		return "there is no worker to stop here"
	case others == 1:
		return "there is no worker to stop here; -all stops the one of another module"
	}
	return fmt.Sprintf("there is no worker to stop here; -all stops the %d of other modules", others)
}

// sharedWorkers returns the workers of all groups.
func sharedWorkers(ctx context.Context, d *client.Dialer) ([]client.Info, error) {
	list, err := d.List(ctx)
	return slices.DeleteFunc(list, func(i client.Info) bool { return !i.Shared || groupOf(i.Name) == "" }), err
}

// ofGroup returns those workers that are of a group, or, if that is empty, all.
func ofGroup(all []client.Info, group string) (list []client.Info) {
	for _, info := range all {
		if group == "" || groupOf(info.Name) == group {
			list = append(list, info)
		}
	}
	return list
}

// stopWorkers ends workers, all at once, and says which.
func stopWorkers(ctx context.Context, d *client.Dialer, list []client.Info, stdout io.Writer) error {
	outcomes := make([]error, len(list))
	var stops sync.WaitGroup
	for i, info := range list {
		stops.Go(func() { outcomes[i] = d.Stop(ctx, info.ID) })
	}
	stops.Wait()
	var failed []error
	for i, info := range list {
		how := "stopped"
		switch err := outcomes[i]; {
		case errors.Is(err, client.ErrNoWorker):
			how = "had left by itself:"
		case errors.Is(err, client.ErrForced):
			how = "killed"
		case err != nil:
			failed = append(failed, err)
			continue
		}
		if _, err := fmt.Fprintf(stdout, "%s worker %d (%s)\n", how, info.Pid, place(info)); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// place returns what a worker is for: the directory of the module, and the number of the slot.
func place(info client.Info) string { return info.Name[len(namePrefix):] }
