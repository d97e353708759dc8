package client

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/lifecycle"
)

// logged returns what a line of output becomes in a text log.
func logged(line lifecycle.Line) string {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	log.SetLevel(logrus.TraceLevel)
	o := &output{log: log.WithFields(logrus.Fields{workerField: "w", pidField: 7})}
	o.write(line)
	return out.String()
}

func TestOutputBecomesLogEntries(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	entry := func(level string, fields map[string]any) lifecycle.Line {
		return lifecycle.Line{Entry: &lifecycle.Entry{Time: at, Level: level, Message: "hello", Fields: fields}}
	}
	tests := []struct {
		name string
		line lifecycle.Line
		want []string
	}{
		{"text", lifecycle.Line{Text: "plain"}, []string{"level=info", "msg=plain", "worker=w", "pid=7"}},
		{"loss", lifecycle.Line{Lost: 12}, []string{"level=warning", "12 bytes"}},
		{"entry", entry("debug", map[string]any{"k": "v"}), []string{"level=debug", "msg=hello", "k=v", "2020-01-02T03:04:05Z"}},
		{"fields that clash", entry("info", map[string]any{"pid": 1, "worker": "x"}), []string{"pid=7", "fields.pid=1", "worker=w", "fields.worker=x"}},
		{"fatal does not end the parent", entry("fatal", nil), []string{"level=fatal"}},
		{"panic does not panic in the parent", entry("panic", nil), []string{"level=fatal"}},
		{"unknown level", entry("loud", nil), []string{"level=info"}},
	}
	for _, tt := range tests {
		got := logged(tt.line)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q does not contain %q", tt.name, got, want)
			}
		}
	}
}
