package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/slogtest"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
)

// TestSlogHandlerKeepsTheContractOfSlog reads back what the handler writes, as
// a parent does.
func TestSlogHandlerKeepsTheContractOfSlog(t *testing.T) {
	var out bytes.Buffer
	h := server.NewSlogHandler(&lifecycle.EntryWriter{W: &out}, slog.LevelInfo)
	err := slogtest.TestHandler(h, func() []map[string]any {
		var results []map[string]any
		for _, e := range entries(t, out.Bytes()) {
			result := map[string]any{slog.MessageKey: e.Message, slog.LevelKey: e.Level}
			if !e.Time.IsZero() {
				result[slog.TimeKey] = e.Time
			}
			for k, v := range e.Fields {
				result[k] = v
			}
			results = append(results, result)
		}
		return results
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSlogHandlerLeavesOutWhatIsBelowItsLevelAndKeepsLevels(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(server.NewSlogHandler(&lifecycle.EntryWriter{W: &out}, slog.LevelInfo))
	log.Debug("hidden")
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		log.Log(context.Background(), level, "shown")
	}
	var levels []string
	for _, e := range entries(t, out.Bytes()) {
		levels = append(levels, e.Level)
	}
	if len(levels) != 3 || levels[0] != "info" || levels[1] != "warning" || levels[2] != "error" {
		t.Errorf("got %q", levels)
	}
}

// entries reads a worker's output back.
func entries(t *testing.T, output []byte) []*lifecycle.Entry {
	t.Helper()
	path := filepath.Join(t.TempDir(), "output")
	if err := os.WriteFile(path, output, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []*lifecycle.Entry
	r := lifecycle.NewOutputReader(f)
	for line, ok := r.Next(); ok; line, ok = r.Next() {
		if line.Entry == nil {
			t.Fatalf("no entry: %+v", line)
		}
		list = append(list, line.Entry)
	}
	return list
}
