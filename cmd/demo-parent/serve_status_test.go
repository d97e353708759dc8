package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// newBrokenSite returns a site whose workers never start, with its pool.
func newBrokenSite(t *testing.T) *site {
	t.Helper()
	newRuntimeDir(t)
	pool, err := client.NewPool(client.PoolConfig{Command: &lifecycle.Command{Path: "./<b>nothing</b>"}, Min: 2, Max: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{pool: pool, ledger: newLedger(&display{out: t.Output()}, false), queue: 5, began: time.Now()}
}

// get has a handler answer.
func get(handler http.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	return w
}

func TestThePageEscapesWhatOthersSay(t *testing.T) {
	s := newBrokenSite(t)
	s.ledger.note(client.PoolEvent{
		Kind: client.WorkerEnded, Slot: 1, Reason: "<i>", Err: errors.New("<script>alert(1)</script>\nmore"),
	})
	if !await(t.Context(), func() bool { return strings.Contains(s.trouble(t.Context()), "nothing") }) {
		t.Fatalf("the trouble is %q", s.trouble(t.Context()))
	}
	w := get(s.page)
	page := w.Body.String()
	for _, want := range []string{
		"&lt;script&gt;alert(1)&lt;/script&gt;</td>", "(&lt;i&gt;)", "not ready: 0 of 2 workers are ready", "&lt;b&gt;nothing",
		"0 of 5 places",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not contain %q", want)
		}
	}
	for _, other := range []string{"<script", "<i>", "<b>"} {
		if strings.Contains(page, other) {
			t.Errorf("the page contains %q", other)
		}
	}
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/html") || t.Failed() {
		t.Errorf("the content type is %s, the page:\n%s", got, page)
	}
}

func TestHealthSaysWhyThePoolIsNotReady(t *testing.T) {
	s := newBrokenSite(t)
	w := get(s.health)
	if body := w.Body.String(); w.Code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "0 of 2 workers are ready") {
		t.Errorf("got %d and %q", w.Code, body)
	}
}

func TestTheLedgerKeepsTheLastEvents(t *testing.T) {
	c := newLedger(&display{out: t.Output()}, false)
	for _, kind := range []client.PoolEventKind{client.WorkerStarting, client.WorkerReady, client.WorkerLeaving} {
		c.note(client.PoolEvent{Kind: kind})
	}
	if events := c.look(); len(events) != 3 || events[0].Kind != client.WorkerLeaving {
		t.Errorf("got %+v, want the newest first", events)
	}
	for range 2 * maxRecent {
		c.note(client.PoolEvent{Kind: client.PoolReloaded, Slot: -1})
	}
	if events := c.look(); len(events) != maxRecent {
		t.Errorf("it keeps %d events", len(events))
	}
}

func TestAnEventIsOneLine(t *testing.T) {
	for want, e := range map[string]client.PoolEvent{
		"pool: reloaded":             {Kind: client.PoolReloaded, Slot: -1},
		"worker in slot 2: starting": {Kind: client.WorkerStarting, Slot: 2},
		"worker 7 in slot 2: leaving (calls): after 3 calls": {
			Kind: client.WorkerLeaving, Slot: 2, Pid: 7, Reason: client.ReasonCalls, Detail: "after 3 calls",
		},
		"worker 7 in slot 2: ended (crashed): exited": {
			Kind: client.WorkerEnded, Slot: 2, Pid: 7, Reason: client.ReasonCrashed, Err: errors.New("exited; last output:\nboom"),
		},
	} {
		if got := describe(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
