package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

func (a *app) methodsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "methods NAME",
		Short: "List what a worker can be called for",
		Long: `Methods lists the worker's methods and their kinds: a unary one answers with one message, a stream with many, bidi takes
many as well, and raw is a connection of bytes. Names that begin with "unref." are those that every worker has.`,
		Example:           "  unref methods web",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeName,
		RunE:              action(func(ctx context.Context, args []string) error { return a.methods(ctx, args[0], asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func (a *app) methods(ctx context.Context, name string, asJSON bool) error {
	return a.visit(ctx, name, func(w *client.Worker) error {
		methods, err := w.Methods(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(append([]transport.MethodInfo{}, methods...)) // an array even if it is empty
		}
		lines := [][]string{{"METHOD", "KIND"}}
		for _, m := range methods {
			lines = append(lines, []string{printable(m.Name), printable(m.Kind)})
		}
		return printTable(a.stdout, lines)
	})
}

func (a *app) stacksCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stacks NAME",
		Short: "Print the stacks of a worker's goroutines",
		Long: `Stacks prints what each goroutine of the worker is doing now, as Go does in a crash report. The worker goes on. One that
does not answer can't be asked.`,
		Example:           "  unref stacks web | less",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeName,
		RunE: action(func(ctx context.Context, args []string) error {
			return a.visit(ctx, args[0], func(w *client.Worker) error {
				stacks, err := w.Stacks(ctx)
				if err == nil {
					_, err = io.WriteString(a.stdout, stacks)
				}
				return err
			})
		}),
	}
}
