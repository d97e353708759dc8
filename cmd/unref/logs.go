package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// logsOptions are the flags of logs.
type logsOptions struct {
	follow bool
	past   int64
	asJSON bool
}

func (a *app) logsCommand() *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a worker has printed and logged",
		Long: `Logs prints what is kept of the worker's output, about the last 4 to 8 MiB. Text is printed as it is, log entries as
TIME LEVEL MESSAGE FIELDS.

With --json each line is an object: {"time", "level", "msg", "fields"} for an entry, {"text"} for a line of text, and
{"lost"} for a number of bytes that came faster than they were read.`,
		Example: `  unref logs web
  unref logs -f -n 0 web          # only what comes from now on
  unref logs --json web | jq -r 'select(.level == "error") | .msg'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeName,
		RunE:              action(func(ctx context.Context, args []string) error { return a.logs(ctx, args[0], o) }),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with what comes until the worker ends, or an interrupt")
	flags.Int64VarP(&o.past, "bytes", "n", -1, "begin with the first whole line of the last `N` bytes; negative means all that is kept")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func (a *app) logs(ctx context.Context, name string, o logsOptions) error {
	format := lineText
	if o.asJSON {
		format = lineJSON
	}
	return a.visit(ctx, name, func(w *client.Worker) error {
		out := bufio.NewWriter(a.stdout)
		for line := range w.Lines(ctx, o.past, o.follow) {
			if err := writeLine(out, format(line), o.follow); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

// writeLine writes a line, which somebody may be waiting for.
func writeLine(out *bufio.Writer, line string, now bool) error {
	_, err := io.WriteString(out, line+"\n")
	if err == nil && now {
		err = out.Flush()
	}
	return err
}

const entryTime = "2006-01-02 15:04:05.000"

// lineText returns a line of output as people read it.
func lineText(line lifecycle.Line) string {
	switch {
	case line.Entry != nil:
		return entryText(line.Entry)
	case line.Lost > 0:
		return fmt.Sprintf("[%d bytes were lost]", line.Lost)
	}
	return line.Text
}

func entryText(e *lifecycle.Entry) string {
	parts := []string{e.Time.Local().Format(entryTime), fmt.Sprintf("%-7s", strings.ToUpper(e.Level)), e.Message}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		parts = append(parts, name+"="+fieldText(e.Fields[name]))
	}
	return strings.Join(parts, " ")
}

// fieldText returns a field's value, in quotes where it would not be seen as one.
func fieldText(value any) string {
	text, isText := value.(string)
	if !isText {
		return compactJSON(value)
	}
	if text == "" || strings.ContainsAny(text, " \"=") || printable(text) != text {
		return strconv.Quote(text)
	}
	return text
}

// The forms of lines for programs.
type (
	jsonEntry struct {
		Time    time.Time      `json:"time"`
		Level   string         `json:"level"`
		Message string         `json:"msg"`
		Fields  map[string]any `json:"fields,omitempty"`
	}
	jsonText struct {
		Text string `json:"text"`
	}
	jsonLoss struct {
		Lost int64 `json:"lost"`
	}
)

func lineJSON(line lifecycle.Line) string {
	switch {
	case line.Entry != nil:
		return compactJSON(jsonEntry{line.Entry.Time, line.Entry.Level, line.Entry.Message, line.Entry.Fields})
	case line.Lost > 0:
		return compactJSON(jsonLoss{line.Lost})
	}
	return compactJSON(jsonText{line.Text})
}

// compactJSON returns the JSON of a value that has come from JSON, in one line.
func compactJSON(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return strconv.Quote(err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}
