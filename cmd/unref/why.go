package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// whyOptions are the flags of why.
type whyOptions struct {
	dir        string
	env        []string
	config     string
	workerName string
	limits     lifecycle.Limits
	asJSON     bool
}

func (a *app) whyCommand() *cobra.Command {
	var o whyOptions
	cmd := &cobra.Command{
		Use:   "why NAME -- PROGRAM [ARGUMENT...]",
		Short: "Say whether a program that attaches would reuse a worker, and why not",
		Long: `Why says what a program would get that attaches to the shared worker NAME with this command: the worker that runs, or
another one, and then what differs between the two configurations. It changes nothing. The flags say what else belongs to the
configuration: the fields of lifecycle.Command of the same names. The JSON of --config has to be what the program's own value
becomes, its keys in the same order. The flags that begin with limit are the fields of lifecycle.Limits.

The exit status is 0 if the worker would be reused, and 1 if not.`,
		Example: `  unref why web -- /usr/local/bin/web --listen :80
  unref why web --fingerprint-env GOFLAGS --config '{"level":3}' -- web`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return errors.New("say it as: unref why NAME -- PROGRAM [ARGUMENT...]")
			}
			return nil
		},
		ValidArgsFunction: a.completeName,
		RunE:              action(func(ctx context.Context, args []string) error { return a.why(ctx, args[0], args[1:], o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", "", "the worker's working directory, if the program sets one")
	flags.StringArrayVar(&o.env, "fingerprint-env", nil,
		"a variable `NAME` that is part of the configuration, with its value here; may be repeated")
	flags.StringVar(&o.config, "config", "", "the configuration that is handed to the worker, as `JSON`")
	flags.StringVar(&o.workerName, "worker-name", "", "the worker's own name (default: the program's base name)")
	flags.Int64Var(&o.limits.Memory, "limit-memory", 0, "the worker's limit of memory, in `BYTES`")
	flags.DurationVar(&o.limits.CPU, "limit-cpu", 0, "its limit of processor time")
	flags.IntVar(&o.limits.OpenFiles, "limit-open-files", 0, "its limit of open files")
	flags.IntVar(&o.limits.Nice, "limit-nice", 0, "its nice value")
	flags.IntVar(&o.limits.GoMaxProcs, "limit-go-max-procs", 0, "its GOMAXPROCS, if the program sets it as a limit")
	flags.Int64Var(&o.limits.GoMemory, "limit-go-memory", 0, "its GOMEMLIMIT, in `BYTES`, if the program sets it as a limit")
	flags.BoolVar(&o.asJSON, "json", false, "print a JSON object")
	_ = cmd.MarkFlagDirname("dir") // the flag is there
	return cmd
}

func (a *app) why(ctx context.Context, name string, command []string, o whyOptions) error {
	cmd := &lifecycle.Command{
		Name: o.workerName, Path: command[0], Args: command[1:], Dir: o.dir, RuntimeDir: a.runtimeDir, FingerprintEnv: o.env,
		Limits: o.limits,
	}
	if o.config != "" {
		if !json.Valid([]byte(o.config)) {
			return usageError("--config is no valid JSON: " + o.config)
		}
		cmd.Config = json.RawMessage(o.config)
	}
	decision, err := a.dialer().Explain(ctx, name, cmd)
	if err != nil {
		return err
	}
	if err := a.printDecision(decision, o.asJSON); err != nil {
		return err
	}
	if decision.Action != client.Reused {
		return errNo
	}
	return nil
}

func (a *app) printDecision(d client.Decision, asJSON bool) error {
	if asJSON {
		return a.printJSON(d)
	}
	if len(d.Differences) == 0 {
		_, err := fmt.Fprintln(a.stdout, d)
		return err
	}
	if _, err := fmt.Fprintf(a.stdout, "%s: worker %d has another configuration\n", d.Action, d.Previous); err != nil {
		return err
	}
	lines := [][]string{{"FIELD", "WAS", "IS"}}
	for _, diff := range d.Differences {
		lines = append(lines, []string{printable(diff.Field), printable(diff.Was), printable(diff.Is)})
	}
	return printTable(a.stdout, lines)
}
