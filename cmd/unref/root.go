package main

import (
	"context"
	"encoding/json"
	"io"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
)

// app is one run of the tool: where it reads and writes, and the flags that all commands have.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	runtimeDir    string
	answerTimeout time.Duration
}

const defaultAnswerTimeout = 3 * time.Second

const about = `Unref shows and controls the worker processes of this user, whatever program has started them.

A worker's NAME is the name under which it is shared, or its own if it is not shared; its pid or the id of its instance will do
as well.
The tool is an observer: it keeps no worker from leaving when it is idle, except while "unref call" makes a call.

Exit status: 0 if all went well, 1 if it did not or the answer is no, 2 if the command line is wrong, 130 after an interrupt.`

// command returns the whole command line.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "unref",
		Short:         "Show and control the workers of this user",
		Long:          about,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&a.runtimeDir, "runtime-dir", "", "where to look for workers (default $UNREF_RUNTIME_DIR, or as the libraries do)")
	flags.DurationVar(&a.answerTimeout, "answer-timeout", defaultAnswerTimeout,
		"how long to wait for a worker to answer at all; negative for ever")
	_ = root.MarkPersistentFlagDirname("runtime-dir") // the flag is there
	root.AddCommand(
		a.psCommand(), a.topCommand(), a.logsCommand(), a.callCommand(), a.methodsCommand(), a.stacksCommand(),
		a.stopCommand(), a.killCommand(), a.restartCommand(), a.doctorCommand(), a.whyCommand(),
	)
	describeCompletion(root)
	return root
}

// version returns that of the module the tool was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

// action makes a command's errors known as such: the command line was understood.
func action(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := do(cmd.Context(), args); err != nil {
			return failure{err}
		}
		return nil
	}
}

// dialer returns the settings for workers that are looked at. What they print is for "unref logs" only.
func (a *app) dialer() *client.Dialer {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &client.Dialer{Observer: true, RuntimeDir: a.runtimeDir, AnswerTimeout: a.answerTimeout, Logger: log}
}

// visit attaches to a worker as an observer for as long as f takes.
func (a *app) visit(ctx context.Context, name string, f func(*client.Worker) error) error {
	w, err := a.dialer().Find(ctx, name)
	if err != nil {
		return err
	}
	defer w.Close()
	return f(w)
}

// printJSON prints a value in the form for programs.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
