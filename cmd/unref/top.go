package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

func (a *app) topCommand() *cobra.Command {
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the workers on a full screen",
		Long: `Top shows what ps does, again and again, and how many calls each worker ends per second, with the course of the last looks.
CPU is in percent of one processor.

The key that sorts by a column stands in its title, in brackets; the same key again, or r, reverses the order. The left and right
arrows sort by the next column, the others and j and k scroll, space pauses, q quits.`,
		Example:           "  unref top --interval 500ms",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              action(func(ctx context.Context, _ []string) error { return a.top(ctx, interval) }),
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "the time between two looks")
	return cmd
}

func (a *app) top(ctx context.Context, interval time.Duration) error {
	if interval <= 0 {
		return usageError("--interval has to be more than 0")
	}
	if !isTerminal(a.stdout) {
		return errors.New("top needs a terminal to draw on, and standard output is none; unref ps prints the list once")
	}
	m := newTopModel(interval, func() looked {
		list, err := a.dialer().List(ctx)
		return looked{list, err, time.Now()}
	})
	program := tea.NewProgram(m, tea.WithInput(a.stdin), tea.WithOutput(a.stdout), tea.WithoutSignalHandler())
	// An interrupt is one way to quit: the screen is given back as after a key.
	defer context.AfterFunc(ctx, program.Quit)()
	_, err := program.Run()
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}
