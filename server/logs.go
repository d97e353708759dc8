package server

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/lifecycle"
)

// methodField is the entry's field that names the method whose handler logged,
// where the logging call had the handler's context.
const methodField = "method"

// directLogs makes the loggers that still write to standard output or error
// write entries. What the program has directed elsewhere stays there.
func directLogs(w *lifecycle.EntryWriter, level logrus.Level) {
	if std := logrus.StandardLogger(); isStandard(std.Out) {
		std.SetFormatter(discard{})
		std.SetOutput(io.Discard)
		std.AddHook(logrusHook{w})
	}
	if defaultSlog() && isStandard(log.Writer()) {
		slog.SetDefault(slog.New(NewSlogHandler(w, slogLevel(level))))
	}
}

func isStandard(w io.Writer) bool { return w == os.Stderr || w == os.Stdout }

// defaultSlog reports whether the program has left slog's default alone. The
// type is slog's own, unexported one.
func defaultSlog() bool {
	return fmt.Sprintf("%T", slog.Default().Handler()) == "*slog.defaultHandler"
}

// discard saves logrus the formatting that nobody sees.
type discard struct{}

func (discard) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// logrusHook writes each logrus entry as an entry of the output.
type logrusHook struct{ w *lifecycle.EntryWriter }

func (logrusHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h logrusHook) Fire(e *logrus.Entry) error {
	fields := make(map[string]any, len(e.Data)+1)
	for k, v := range e.Data {
		fields[k] = v
	}
	if e.Caller != nil {
		fields[logrus.FieldKeyFunc] = e.Caller.Function
		fields[logrus.FieldKeyFile] = fmt.Sprintf("%s:%d", e.Caller.File, e.Caller.Line)
	}
	addMethod(e.Context, fields)
	// A lost entry is counted by the writer, and must not become output itself.
	_ = h.w.WriteEntry(&lifecycle.Entry{Time: e.Time, Level: e.Level.String(), Message: e.Message, Fields: fields})
	return nil
}

func addMethod(ctx context.Context, fields map[string]any) {
	if method := MethodName(ctx); method != "" {
		if _, taken := fields[methodField]; !taken {
			fields[methodField] = method
		}
	}
}

// slogHandler writes slog records as entries of the output.
type slogHandler struct {
	w     *lifecycle.EntryWriter
	level slog.Leveler
	attrs []slog.Attr // of WithAttrs, already inside their groups
	group []string    // open groups
}

// NewSlogHandler returns a handler that sends slog records through w to the
// parent's log. [Main] makes one slog's default.
func NewSlogHandler(w *lifecycle.EntryWriter, level slog.Leveler) slog.Handler {
	return &slogHandler{w: w, level: level}
}

func (h *slogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	next := *h
	next.attrs = append(slices.Clip(h.attrs), h.grouped(attrs)...)
	return &next
}

func (h *slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.group = append(slices.Clip(h.group), name)
	return &next
}

// grouped puts attrs into the open groups.
func (h *slogHandler) grouped(attrs []slog.Attr) []slog.Attr {
	for _, name := range slices.Backward(h.group) {
		attrs = []slog.Attr{{Key: name, Value: slog.GroupValue(attrs...)}}
	}
	return attrs
}

func (h *slogHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	fields := make(map[string]any)
	addAttrs(fields, h.attrs)
	addAttrs(fields, h.grouped(attrs))
	addMethod(ctx, fields)
	return h.w.WriteEntry(&lifecycle.Entry{Time: r.Time, Level: levelName(r.Level), Message: r.Message, Fields: fields})
}

// addAttrs turns groups into nested maps; a group without a name, or met a
// second time, adds to what is there.
func addAttrs(fields map[string]any, attrs []slog.Attr) {
	for _, a := range attrs {
		v := a.Value.Resolve()
		switch {
		case a.Equal(slog.Attr{}):
		case v.Kind() != slog.KindGroup:
			fields[a.Key] = v.Any()
		case a.Key == "":
			addAttrs(fields, v.Group())
		case len(v.Group()) > 0:
			nested, ok := fields[a.Key].(map[string]any)
			if !ok {
				nested = make(map[string]any)
				fields[a.Key] = nested
			}
			addAttrs(nested, v.Group())
		}
	}
}

// levelName returns the name that logrus has for the level.
func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelDebug:
		return logrus.TraceLevel.String()
	case l < slog.LevelInfo:
		return logrus.DebugLevel.String()
	case l < slog.LevelWarn:
		return logrus.InfoLevel.String()
	case l < slog.LevelError:
		return logrus.WarnLevel.String()
	default:
		return logrus.ErrorLevel.String()
	}
}

// slogLevel returns the slog level that lets the same entries pass.
func slogLevel(l logrus.Level) slog.Level {
	switch l {
	case logrus.TraceLevel:
		return slog.LevelDebug - 4
	case logrus.DebugLevel:
		return slog.LevelDebug
	case logrus.InfoLevel:
		return slog.LevelInfo
	case logrus.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}
