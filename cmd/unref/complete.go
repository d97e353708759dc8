package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// completionTime bounds the wait for a worker while somebody waits for the shell.
const completionTime = time.Second

// describeCompletion says what the library's command for scripts leaves out, and makes it refuse other shells.
func describeCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == "completion" })
	cmd := root.Commands()[i]
	cmd.Short = "Print the script that makes a shell complete commands and names"
	cmd.Long = `Completion prints a script with which bash, zsh, fish or PowerShell completes commands, flags, the names of workers that live,
and their methods. The help of each shell's command says where the script belongs.

In bash it needs the package bash-completion, version 2; without it nothing completes.`
	cmd.Example = "  source <(unref completion bash)"
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("there is no script for %s: name bash, zsh, fish or powershell", printable(args[0]))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

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
