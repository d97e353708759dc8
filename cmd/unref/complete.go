package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// completionTime bounds the wait for a worker while somebody waits for the shell.
const completionTime = time.Second

// completeName completes the one argument that is a worker's name.
func (a *app) completeName(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeNames(cmd, args, begun)
}

// completeNames completes arguments that are workers' names, each once. It asks no worker, so that one that hangs holds up
// nobody.
func (a *app) completeNames(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	instances, err := lifecycle.Instances(a.runtimeDir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	instances = slices.DeleteFunc(instances, func(i *lifecycle.Instance) bool { return !i.Alive })
	var names []string
	for _, i := range instances {
		name, about := choice(i, instances)
		if strings.HasPrefix(name, begun) && !slices.Contains(args, name) {
			names = append(names, cobra.CompletionWithDesc(name, about))
		}
	}
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}

// choice returns what names this worker and no other, and what is said of it.
func choice(i *lifecycle.Instance, all []*lifecycle.Instance) (name, about string) {
	name = i.DisplayName()
	alike := func(o *lifecycle.Instance) bool { return o != i && o.DisplayName() == name }
	if i.Record == nil && slices.ContainsFunc(all, alike) {
		return i.ID, name + ", " + i.Program
	}
	return name, i.Program
}

// completeCall completes a worker's name and then the name of one of its methods.
func (a *app) completeCall(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return a.completeNames(cmd, args, begun)
	case 1:
		return a.completeMethod(cmd.Context(), args[0], begun)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeMethod(ctx context.Context, name, begun string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	var names []string
	err := a.visit(ctx, name, func(w *client.Worker) error {
		methods, err := w.Methods(ctx)
		for _, m := range methods {
			if strings.HasPrefix(m.Name, begun) {
				names = append(names, cobra.CompletionWithDesc(m.Name, m.Kind))
			}
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
