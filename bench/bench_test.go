package main

import (
	"encoding/xml"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

// needsLinux skips a test elsewhere.
func needsLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("it measures on Linux only")
	}
}

func quick(dir string) *settings {
	return &settings{systems: []string{report.Floor, report.Unref}, sections: []string{report.Latency},
		runs: 1, procs: 2, quick: true, json: filepath.Join(dir, "results.json"), svg: filepath.Join(dir, "charts")}
}

func TestAQuickRunReportsBothSystemsAndWritesFiles(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	s := quick(dir)
	if err := work(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	r, err := report.Read(s.json)
	if err != nil {
		t.Fatal(err)
	}
	text := report.Markdown(r)
	for _, want := range []string{"| *raw-unix* |", "| unref |", "## Latency", "## Goals"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	svg, err := os.Open(filepath.Join(s.svg, "latency.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	if err := xml.NewDecoder(svg).Decode(new(struct{})); err != nil && err != io.EOF {
		t.Error(err)
	}
}

func TestProfilesOfBothSidesAreWritten(t *testing.T) {
	needsLinux(t)
	s := quick(t.TempDir())
	s.cpuprofile = t.TempDir()
	if err := work(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.systems {
		for _, role := range []string{"driver", "worker"} {
			found, _ := filepath.Glob(filepath.Join(s.cpuprofile, "latency-"+name+"-"+role+"-*.prof"))
			if len(found) != 1 {
				t.Errorf("%s has %d profiles of its %s, want 1", name, len(found), role)
				continue
			}
			if info, err := os.Stat(found[0]); err != nil || info.Size() == 0 {
				t.Errorf("%s is empty: %v", found[0], err)
			}
		}
	}
}

func TestResultsOfAFileAreReportedWithoutMeasuring(t *testing.T) {
	s := &settings{from: filepath.Join("report", "testdata", "results.json"), svg: t.TempDir()}
	if err := work(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.svg, "cold.svg")); err != nil {
		t.Error(err)
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	needsLinux(t)
	for _, s := range []*settings{
		{systems: []string{"nosuch"}, runs: 1, procs: 1},
		{sections: []string{"nosuch"}, runs: 1, procs: 1},
		{runs: 0, procs: 1},
	} {
		if err := work(t.Context(), s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

// A worker may have left its parent, its session and its process group.
func TestNothingThatWasStartedIsLeft(t *testing.T) {
	needsLinux(t)
	b, err := newBench(t.Context(), quick(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	cmd := b.prepare(exec.Command("sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPid(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := b.close(); err != nil {
		t.Error(err)
	}
	if !p.await(t.Context(), 10*time.Second) {
		t.Errorf("process %d still runs", pid)
	}
	if _, err := os.Stat(b.scratch); err == nil {
		t.Errorf("%s is still there", b.scratch)
	}
}

func TestReceiptsInNodeAreThoseInGo(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("Node is not installed")
	}
	const script = `const {receiptOf} = require("./systems/node/common.js");
process.stdout.write(receiptOf(Buffer.from(Array.from({length: 10000}, (_, i) => i + (i >> 8)))))`
	got, err := exec.CommandContext(t.Context(), node, "-e", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 10000)
	for i := range data {
		data[i] = byte(i + i>>8)
	}
	if want := harness.ReceiptOf(data).String(); string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheListNamesEverySystemAndSection(t *testing.T) {
	text := listing()
	for _, c := range contestants {
		if !strings.Contains(text, " "+c.name) {
			t.Errorf("no %s in %q", c.name, text)
		}
	}
	for _, s := range sections {
		if !strings.Contains(text, " "+s.name) {
			t.Errorf("no %s in %q", s.name, text)
		}
	}
}

func TestEverySystemInGoAnswers(t *testing.T) {
	needsLinux(t)
	s := quick(t.TempDir())
	s.systems = nil
	for _, c := range contestants {
		if c.script == "" && c.name != report.Hello {
			s.systems = append(s.systems, c.name)
		}
	}
	if err := work(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	r, err := report.Read(s.json)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range s.systems {
		if m := r.Measurement(report.Latency, name); len(m.Runs) != 1 || m.Runs[0]["unary64.p50"] <= 0 || m.Runs[0]["unary64k.p50"] <= 0 {
			t.Errorf("%s: no latency was measured: %+v", name, m)
		}
	}
}

// The charts in the README and the table of goals in docs/performance.md show
// what is in results.json.
func TestWhatIsShownIsWhatWasMeasured(t *testing.T) {
	r, err := report.Read("results.json")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range report.Charts(r) {
		if got, err := os.ReadFile(filepath.Join("charts", file)); err != nil || string(got) != string(want) {
			t.Errorf("charts/%s is not drawn from results.json: %v", file, err)
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(report.Markdown(r), "\n## Goals\n\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !found || !strings.Contains(string(doc), table) {
		t.Errorf("docs/performance.md lacks this table, or has another:\n%s", table)
	}
}
