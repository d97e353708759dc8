package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

func TestEveryKindOfOutputArrivesInTheParentsLoggerInOrder(t *testing.T) {
	log := newLog()
	w := startWith(t, &client.Dialer{Logger: log.logger}, self())
	if _, err := client.Call(t.Context(), w, printAll, "one"); err != nil {
		t.Fatal(err)
	}
	await(t, "the last line", func() bool { return log.find("child one") != nil })
	want := []string{"println one", "log one", "slog one", "logrus one", "child one"}
	if got := log.messages(); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for _, message := range want {
		e := log.find(message)
		if e.Data["worker"] != "worker" || e.Data["pid"] != w.Pid() {
			t.Errorf("%q has fields %v, want worker and pid", message, e.Data)
		}
	}
}

func TestLogEntriesArriveAsEntriesWithLevelFieldsAndMethod(t *testing.T) {
	log := newLog()
	w := startWith(t, &client.Dialer{Logger: log.logger}, self())
	if _, err := client.Call(t.Context(), w, printAll, "one"); err != nil {
		t.Fatal(err)
	}
	await(t, "the last line", func() bool { return log.find("child one") != nil })
	viaLogrus, viaSlog := log.find("logrus one"), log.find("slog one")
	if viaLogrus.Level != logrus.WarnLevel || viaLogrus.Data["m"] != "two" || viaLogrus.Data["method"] != "print" {
		t.Errorf("logrus entry: %v %v", viaLogrus.Level, viaLogrus.Data)
	}
	group, _ := viaSlog.Data["g"].(map[string]any)
	if viaSlog.Level != logrus.InfoLevel || fmt.Sprint(viaSlog.Data["n"]) != "1" || group["k"] != "v" || viaSlog.Data["method"] != "print" {
		t.Errorf("slog entry: %v %v", viaSlog.Level, viaSlog.Data)
	}
}

// The parent's log level decides what a worker's loggers write at all.
func TestWorkersLogAtTheParentsLevel(t *testing.T) {
	log := newLog()
	log.logger.SetLevel(logrus.WarnLevel)
	w := startWith(t, &client.Dialer{Logger: log.logger}, self())
	if _, err := client.Call(t.Context(), w, printAll, "one"); err != nil {
		t.Fatal(err)
	}
	await(t, "the warning", func() bool { return log.find("logrus one") != nil })
	if e := log.find("slog one"); e != nil {
		t.Errorf("an entry below the level came through: %v", e.Message)
	}
	if spool := string(w.Process().LastOutput()); strings.Contains(spool, "slog one") {
		t.Errorf("an entry below the level was written: %q", spool)
	}
}

// LESSONS 13, 30
func TestFloodOfOutputWithASlowReaderNeitherBlocksNorGrowsAndTheLossIsSaid(t *testing.T) {
	hold := make(chan struct{})
	log := newLog()
	log.logger.AddHook(&gate{hold})
	w := startWith(t, &client.Dialer{Logger: log.logger}, self())
	const lines, length = 300_000, 1000 // 300 MB
	for range 2 {
		if _, err := client.Call(t.Context(), w, flood, floodReq{lines, length}, client.Timeout(-1)); err != nil {
			t.Fatal(err)
		}
	}
	const bound = 16 << 20
	if used := spoolSize(t, w.Pid()); used > bound {
		t.Errorf("the spool takes %d bytes on disk, bound %d", used, bound)
	}
	close(hold)
	await(t, "the last line", func() bool { return log.find(fmt.Sprint(lines-1, " xxx")) != nil && log.find("were lost") != nil })
	checkAccounted(t, log.messages(), 2*lines, length)
}

// gate is a hook that holds up the logger.
type gate struct{ open chan struct{} }

func (g *gate) Levels() []logrus.Level     { return logrus.AllLevels }
func (g *gate) Fire(e *logrus.Entry) error { <-g.open; return nil }

var floodLine = regexp.MustCompile(`^[0-9]+( x*)?$`)

// checkAccounted checks that what arrived and what was said to be lost make up
// all that was written. A line that a loss cut short arrived without its
// newline.
func checkAccounted(t *testing.T, messages []string, lines, length int) {
	t.Helper()
	var arrived, lost, losses int
	for _, m := range messages {
		if n, _, ok := strings.Cut(m, " bytes of the worker's output were lost"); ok {
			k, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			lost += k
			losses++
		} else if floodLine.MatchString(m) {
			arrived += len(m) + 1
		}
	}
	written := 0
	for i := range lines / 2 {
		written += 2 * (len(strconv.Itoa(i)) + 1 + length + 1)
	}
	if surplus := arrived + lost - written; surplus < 0 || surplus > losses {
		t.Errorf("%d bytes arrived and %d were said to be lost in %d places, of %d written", arrived, lost, losses, written)
	}
}

// spoolSize returns how much disk the worker's standard output takes.
func spoolSize(t *testing.T, pid int) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "fd/1"))
	if err != nil {
		t.Fatal(err)
	}
	return blocks(info) * 512
}

func TestFloodOfOutputWithAStoppedReaderDoesNotBlockHandlers(t *testing.T) {
	log := newLog()
	open := make(chan struct{})
	t.Cleanup(func() { close(open) })
	log.logger.AddHook(&gate{open})
	w := startWith(t, &client.Dialer{Logger: log.logger}, self())
	if _, err := client.Call(t.Context(), w, flood, floodReq{100_000, 1000}, client.Timeout(-1)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Call(t.Context(), w, echo, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func TestUnfinishedLastLineIsLoggedWhenTheWorkerEnds(t *testing.T) {
	log := newLog()
	w := startWith(t, &client.Dialer{Logger: log.logger}, self())
	client.Call(t.Context(), w, end, "exit 3")
	awaitDone(t, "the worker's Done", w.Done())
	await(t, "the last words in the log", func() bool { return log.find("last words") != nil })
}

func TestOutputOfAStrayChildAfterTheHandlerIsStillSeen(t *testing.T) {
	log := newLog()
	w := startWith(t, &client.Dialer{Logger: log.logger}, self())
	if _, err := client.Call(t.Context(), w, shell, "(sleep 0.2; echo late >&2) >/dev/null & "); err != nil {
		t.Fatal(err)
	}
	await(t, "the late line", func() bool { return log.find("late") != nil })
}

func TestLastWordsOfACrashAreInTheErrorWhateverTheSize(t *testing.T) {
	w := startWith(t, &client.Dialer{Timeout: time.Minute}, self())
	_, err := client.Call(t.Context(), w, transport.Method[string, struct{}](end), "panic among many")
	checkExited(t, err, 2, 0, "last words")
	checkExited(t, err, 2, 0, "goroutine ")
}
