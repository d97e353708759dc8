//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // a format that is read
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/detached-workers/unref/client"
)

// serving is demo-parent serve, running.
type serving struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	stderr bytes.Buffer // to be read after stop
	http   *http.Client
}

// startServing starts a server on a port of its own, with workers of its own.
func startServing(t *testing.T, args ...string) *serving {
	t.Helper()
	newRuntimeDir(t)
	s := &serving{t: t, http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(s.http.CloseIdleConnections)
	s.cmd = exec.CommandContext(t.Context(), "demo-parent", append([]string{"serve", "-addr", "127.0.0.1:0"}, args...)...)
	s.cmd.Stderr = io.MultiWriter(&s.stderr, t.Output())
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			_ = s.cmd.Wait() // it was killed
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("it says %q (%v)", line, err)
	}
	s.url = url
	s.await("all workers are ready", func() bool { status, _, _ := s.get(t.Context(), "/healthz"); return status == http.StatusOK })
	return s
}

// await waits until a condition holds.
func (s *serving) await(what string, holds func() bool) {
	s.t.Helper()
	if !await(s.t.Context(), holds) {
		_, status, _ := s.get(s.t.Context(), "/status")
		s.t.Fatalf("waited in vain until %s:\n%s", what, status)
	}
}

func (s *serving) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// stop has the server end, and expects that to be in order.
func (s *serving) stop(sig os.Signal) {
	s.t.Helper()
	s.signal(sig)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("it ended with %v", err)
	}
	if text := s.stderr.String(); !strings.HasSuffix(text, "stopping\nstopped\n") {
		s.t.Errorf("it said at last:\n%s", text)
	}
	dir := os.Getenv("UNREF_RUNTIME_DIR")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		s.t.Errorf("when it ended its workers had left %v (%v)", entries, err)
	}
}

func (s *serving) get(ctx context.Context, path string) (status int, body []byte, err error) {
	return s.do(ctx, http.MethodGet, path, nil)
}

func (s *serving) do(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// report returns what /status says.
func (s *serving) report() (report statusReport) {
	s.t.Helper()
	_, body, err := s.get(s.t.Context(), "/status")
	if err == nil {
		err = json.Unmarshal(body, &report)
	}
	if err != nil {
		s.t.Fatalf("%v:\n%s", err, body)
	}
	return report
}

// pids returns those of the workers that serve.
func (s *serving) pids() (pids []int) {
	s.t.Helper()
	for _, p := range s.report().Processes {
		if p.State == client.SlotIdle || p.State == client.SlotBusy {
			pids = append(pids, p.Pid)
		}
	}
	return pids
}

// loaded runs f while the server has requests, and expects each of them to be answered, and right. f is given a function
// that waits until those that are under way have ended.
func (s *serving) loaded(f func(settle func())) {
	s.t.Helper()
	l, err := newLoader(s.t.Context(), s.url, &loadOptions{concurrency: 6, width: 100, timeout: patience})
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.close()
	var got tally
	var batches atomic.Int64 // that have ended
	var sender sync.WaitGroup
	done := make(chan struct{}) // closed when f has returned
	finish := sync.OnceFunc(func() { close(done); sender.Wait() })
	defer finish()
	sender.Go(func() {
		for {
			l.run(s.t.Context(), 12, 6, &got)
			batches.Add(1)
			select {
			case <-done:
				return
			default:
			}
		}
	})
	s.await("requests are under way", func() bool { return s.report().Calls.Running > 0 })
	f(func() {
		s.t.Helper()
		n := batches.Load()
		s.await("all requests have ended that were under way", func() bool { return batches.Load() > n })
	})
	finish()
	if got.failed > 0 || got.refused > 0 || len(got.latencies) < 12 || len(got.latencies)%12 != 0 {
		s.t.Errorf("%d answers, %d refused, %d failed, the first so: %v", len(got.latencies), got.refused, got.failed, got.failure)
	}
}

func TestAServerMakesImagesSmaller(t *testing.T) {
	s := startServing(t, "-j", "2")
	status, sample, err := s.get(t.Context(), "/sample.png?width=80&height=60")
	if err != nil || status != http.StatusOK {
		t.Fatalf("the sample: got %d and %.100q (%v)", status, sample, err)
	}
	status, small, err := s.do(t.Context(), http.MethodPost, "/thumbnail?width=40&format=jpeg", sample)
	if err != nil || status != http.StatusOK {
		t.Fatalf("the thumbnail: got %d and %.100q (%v)", status, small, err)
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(small))
	if err != nil || format != "jpeg" || config.Width != 40 || config.Height != 30 {
		t.Errorf("got %s of %d by %d (%v)", format, config.Width, config.Height, err)
	}
	status, answer, err := s.do(t.Context(), http.MethodPost, "/thumbnail?width=40", []byte("hello"))
	if err != nil || status != http.StatusBadRequest || !bytes.HasPrefix(answer, []byte("the image can't be read as PNG")) {
		t.Errorf("of no image: got %d and %.100q (%v)", status, answer, err)
	}
	report := s.report()
	workers, calls := report.Workers, report.Calls
	if !report.Ready || workers.Idle != 2 || len(report.Processes) != 2 || calls.Ended != 3 || calls.Failed != 1 {
		t.Errorf("the status is %+v", report)
	}
	if status, page, err := s.get(t.Context(), "/"); err != nil || status != http.StatusOK || !bytes.Contains(page, []byte("<h1>ready</h1>")) {
		t.Errorf("the page: got %d (%v)\n%s", status, err, page)
	}
	s.stop(syscall.SIGTERM)
}

func TestAServerThatIsStoppedFinishesWhatItHas(t *testing.T) {
	s := startServing(t, "-j", "1")
	var client sync.WaitGroup
	defer client.Wait()
	client.Go(func() {
		if status, body, err := s.get(t.Context(), "/sample.png"); status != http.StatusOK {
			t.Errorf("got %d and %.100q (%v)", status, body, err)
		}
	})
	s.await("the request is with a worker", func() bool { return s.report().Calls.Running == 1 })
	s.stop(os.Interrupt)
}

func TestAServerThatIsStoppedSaysWhichWorkersItHadToForce(t *testing.T) {
	s := startServing(t, "-j", "2")
	pid := s.pids()[0]
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	text := s.stderr.String()
	if want := fmt.Sprintf("(pid %d): the worker had to be killed\n", pid); strings.Count(text, "killed") != 1 || !strings.Contains(text, want) {
		t.Errorf("it does not say %q but:\n%s", want, text)
	}
}

// largeSample takes a worker long.
const largeSample = "/sample.png?width=2048&height=2048"

func TestARequestThatTakesTooLongIsGivenUp(t *testing.T) {
	s := startServing(t, "-j", "1", "-timeout", "50ms")
	status, body, err := s.get(t.Context(), largeSample)
	if err != nil || status != http.StatusGatewayTimeout || !bytes.Contains(body, []byte("50ms")) {
		t.Errorf("got %d and %.100q (%v)", status, body, err)
	}
	s.stop(os.Interrupt)
}

func TestAServerWhoseQueueIsFullRefuses(t *testing.T) {
	s := startServing(t, "-j", "1", "-queue", "0", "-timeout", "0")
	ctx, cancel := context.WithCancel(t.Context())
	var client sync.WaitGroup
	defer client.Wait()
	defer cancel()
	client.Go(func() {
		if status, _, err := s.get(ctx, largeSample); !errors.Is(err, context.Canceled) {
			t.Errorf("the request that was given up: got %d (%v)", status, err)
		}
	})
	s.await("the request is with the worker", func() bool { return s.report().Calls.Running == 1 })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/sample.png?width=8&height=6", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %s and Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	cancel() // and nobody waits for the large one any more
	s.await("the worker has ended what was given up", func() bool { return s.report().Calls.Running == 0 })
	if calls := s.report().Calls; calls.Canceled != 1 || calls.Refused != 1 {
		t.Errorf("the calls are %+v", calls)
	}
	s.stop(os.Interrupt)
}

// Both workers die at once, and do so again. No request is hit by more deaths than it may be.
// LESSONS 26, 38
func TestKilledWorkersLoseNoRequest(t *testing.T) {
	const times = 4
	s := startServing(t, "-j", "2")
	s.loaded(func(settle func()) {
		for range times {
			var pids []int
			s.await("both workers are ready", func() bool { pids = s.pids(); return len(pids) == 2 })
			for _, pid := range pids {
				if err := kill(pid); err != nil {
					t.Fatal(err)
				}
			}
			settle()
			s.await("they are replaced", func() bool {
				now := s.pids()
				return len(now) == 2 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(pids, pid) })
			})
		}
	})
	const kills = 2 * times
	report := s.report()
	if report.Starts.Ends["crashed"] != kills || report.Starts.Restarts != kills {
		t.Errorf("%d workers were killed, and the status says %+v", kills, report.Starts)
	}
	s.signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if got := strings.Count(s.stderr.String(), "ended (crashed)"); got != kills {
		t.Errorf("it tells of %d deaths:\n%s", got, s.stderr.String())
	}
}

func TestReloadingLosesNoRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "worker")
	link := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, path+".new"), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(binDir, workerName))
	s := startServing(t, "-j", "2", "-worker", path)
	s.loaded(func(func()) {
		for range 3 {
			before := s.pids()
			s.signal(syscall.SIGHUP)
			s.await("all workers are others", func() bool {
				now := s.pids()
				return len(now) == 2 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(before, pid) })
			})
		}
	})
	before := s.pids()
	link(filepath.Join(binDir, "demo-parent")) // which is none
	s.signal(syscall.SIGHUP)
	s.await("a start fails", func() bool { return s.report().Starts.Failed > 0 })
	s.loaded(func(func()) {
		if now := s.pids(); !slices.Equal(now, before) {
			t.Errorf("the workers %v have not gone on, there are %v", before, now)
		}
	})
	s.signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if text := s.stderr.String(); strings.Count(text, "\nreloaded\n") != 3 || !strings.HasSuffix(text, "stopping\nstopped\n") {
		t.Errorf("it said:\n%s", text)
	}
}

func TestLoadOfAServerHasOneLine(t *testing.T) {
	s := startServing(t, "-j", "2")
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "demo-parent", "load", "-url", s.url, "-n", "5", "-c", "2")
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(strings.Join(strings.Fields(lines[1]), " "), "2 5 0 0 ") {
		t.Errorf("got:\n%s", out.String())
	}
	s.stop(os.Interrupt)
}

func TestAnInterruptEndsALoadWithWhatThereIs(t *testing.T) {
	dir := newRuntimeDir(t)
	p := startProgram(t, "load", "-n", "100000", "-c", "2", "-j", "2")
	p.await("sending ")
	if status := p.interrupt(); status != exitInterrupt {
		t.Errorf("the exit status is %d, want %d", status, exitInterrupt)
	}
	if got := strings.Split(p.stdout.String(), "\n"); len(got) < 3 || !strings.Contains(got[0], "WORKERS") {
		t.Errorf("it printed %q", got)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("when it ended its workers had %v (%v)", entries, err)
	}
}
