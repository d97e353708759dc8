package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/lifecycle"
)

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what workers need of this system, and clear away leftovers",
		Long: `Doctor looks at the runtime directory and at the kernel: whether workers can be started and found there, and what has to be
done without. It removes what workers have left behind that could not do so themselves, and asks each worker whether it answers.

A check that fails means that workers can't be used, and exit status 1; a warning means that something is not as good as it
could be. Each comes with a remedy.`,
		Example:           "  unref doctor",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              action(func(ctx context.Context, _ []string) error { return a.doctor(ctx, asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func (a *app) doctor(ctx context.Context, asJSON bool) error {
	checks := lifecycle.Diagnose(a.runtimeDir)
	if len(checks) > 1 { // else there is no directory to look for workers in
		checks = append(checks, a.checkWorkers(ctx))
	}
	report := func() error { return printChecks(a.stdout, checks) }
	if asJSON {
		report = func() error { return a.printJSON(checks) }
	}
	if err := report(); err != nil {
		return err
	}
	if slices.ContainsFunc(checks, func(c lifecycle.Check) bool { return c.Status == lifecycle.CheckFail }) {
		return errNo
	}
	return nil
}

// checkWorkers asks each worker whether it answers.
func (a *app) checkWorkers(ctx context.Context) lifecycle.Check {
	check := lifecycle.Check{Name: "workers", Status: lifecycle.CheckOK}
	list, err := a.dialer().List(ctx)
	if err != nil {
		check.Status, check.Detail, check.Remedy = lifecycle.CheckFail, err.Error(), "see the checks before"
		return check
	}
	var silent []string
	for _, info := range list {
		if info.Status == nil {
			silent = append(silent, fmt.Sprintf("%s (pid %d) %s", printable(info.Name), info.Pid, printable(info.Trouble)))
		}
	}
	if len(silent) > 0 {
		check.Status, check.Detail = lifecycle.CheckWarn, strings.Join(silent, ", ")
		check.Remedy = `look again in a moment, then end it with "unref kill"`
		return check
	}
	check.Detail = answering(len(list))
	return check
}

// answering says how many workers there are, all of which answer.
func answering(n int) string {
	switch n {
	case 0:
		return "no workers"
	case 1:
		return "1 worker, which answers"
	}
	return fmt.Sprintf("%d workers, and all answer", n)
}

// printChecks prints each check in a line, and its remedy below it.
func printChecks(w io.Writer, checks []lifecycle.Check) error {
	var lines [][]string
	for _, c := range checks {
		lines = append(lines, []string{string(c.Status), c.Name, c.Detail})
		if c.Remedy != "" {
			lines = append(lines, []string{"", "", "-> " + c.Remedy})
		}
	}
	return printTable(w, lines)
}
