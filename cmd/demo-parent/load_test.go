package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeServer answers as demo-parent serve does, but for every third request to make an image smaller.
func fakeServer(t *testing.T, third http.HandlerFunc) string {
	t.Helper()
	var requests atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sample.png", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "sample") })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"workers": {"wanted": 7}}`) })
	mux.HandleFunc("POST /thumbnail", func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%3 == 0 {
			third(w, r)
			return
		}
		fmt.Fprint(w, "small")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// load sends a server 29 requests after the one that shows the right answer.
func load(t *testing.T, url string, retry bool) *tally {
	t.Helper()
	o := &loadOptions{requests: 29, concurrency: 2, width: 1, retry: retry, timeout: patience}
	rows, err := o.measureAt(t.Context(), &display{out: t.Output()}, url)
	if err != nil {
		t.Fatal(err)
	}
	return rows[0]
}

func refuse(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "0")
	w.WriteHeader(http.StatusServiceUnavailable)
}

func TestLoadCountsWhatIsRefused(t *testing.T) {
	got := load(t, fakeServer(t, refuse), false)
	if len(got.latencies) != 19 || got.refused != 10 || got.failed != 0 || got.workers != 7 {
		t.Errorf("%d answers, %d refused, %d failed, %d workers", len(got.latencies), got.refused, got.failed, got.workers)
	}
}

func TestLoadSendsAgainWhatIsRefusedIfToldTo(t *testing.T) {
	got := load(t, fakeServer(t, refuse), true)
	if len(got.latencies) != 29 || got.refused != 14 || got.failed != 0 {
		t.Errorf("%d answers, %d refused, %d failed", len(got.latencies), got.refused, got.failed)
	}
}

func TestLoadKnowsAnAnswerThatIsWrong(t *testing.T) {
	got := load(t, fakeServer(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") }), false)
	if len(got.latencies) != 19 || got.failed != 10 || !strings.Contains(got.failure.Error(), "not the one") {
		t.Errorf("%d answers, %d failed: %v", len(got.latencies), got.failed, got.failure)
	}
	dead := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "dead", http.StatusBadGateway) }
	got = load(t, fakeServer(t, dead), true)
	if len(got.latencies) != 19 || got.failed != 10 || !strings.Contains(got.failure.Error(), "502 Bad Gateway: dead") {
		t.Errorf("%d answers, %d failed: %v", len(got.latencies), got.failed, got.failure)
	}
	var text bytes.Buffer
	if err := reportFailures([]*tally{got}, &text); !errors.Is(err, errFound) || !strings.Contains(text.String(), "10 requests failed") {
		t.Errorf("got %v and %q", err, text.String())
	}
}

func TestLoadGoesByTheTimeThatAServerSays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": time.Second, "soon": time.Second, "-1": time.Second, "0": 0, "3": 3 * time.Second, "9999": maxRetryAfter,
	} {
		if got := pauseOf(http.Header{"Retry-After": {text}}); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestALoadTableHasALineForEachServer(t *testing.T) {
	rows := []*tally{
		{workers: 1, elapsed: 2 * time.Second, latencies: []time.Duration{time.Millisecond, 2 * time.Millisecond}, refused: 3},
		{workers: 4, elapsed: time.Second, latencies: []time.Duration{time.Millisecond, time.Millisecond, time.Second}, failed: 5},
	}
	var text bytes.Buffer
	if err := printLoad(rows, &text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	for i, want := range []string{
		"WORKERS OK 503 FAILED REQ/S P50 P99",
		"1 2 3 0 1.0 2.0 ms 2.0 ms",
		"4 3 0 5 3.0 1.0 ms 1.00 s",
		"4 workers answer 3.00 times as many requests per second as 1 does",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %d is %q, want %q", i+1, got, want)
		}
	}
	text.Reset()
	err := printLoad([]*tally{{}}, &text)
	if got := text.String(); err != nil || strings.Count(got, "\n") != 2 || !strings.Contains(got, "?") {
		t.Errorf("of nothing: got %q (%v)", got, err)
	}
}
