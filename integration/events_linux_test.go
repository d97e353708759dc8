package integration

import (
	"context"
	"errors"
	"iter"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

const (
	news   transport.Event[newsItem]             = "news"
	report transport.Method[reportReq, struct{}] = "report" // emits news
	alien  transport.Event[map[string]string]    = "news"   // of another type
)

type (
	newsItem struct {
		N       int
		Padding []byte
	}
	reportReq struct{ From, To, Padding int }
)

func (r reportReq) emit(mux *server.Mux) error {
	for n := r.From; n < r.To; n++ {
		if err := server.Emit(mux, news, newsItem{n, make([]byte, r.Padding)}); err != nil {
			return err
		}
	}
	return nil
}

// follow subscribes to the news of a worker, until the test ends at the latest.
func follow(t testing.TB, w *client.Worker) iter.Seq2[client.Emitted[newsItem], error] {
	t.Helper()
	events, err := client.Subscribe(limited(t), w, news)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// tellNews has the worker emit the news.
func tellNews(t testing.TB, w client.Caller, r reportReq) {
	t.Helper()
	if _, err := client.Call(limited(t), w, report, r); err != nil {
		t.Fatal(err)
	}
}

// checkNews reads the news up to a number and returns how many were missed.
func checkNews(t testing.TB, w *client.Worker, events iter.Seq2[client.Emitted[newsItem], error], from, to int) (missed int) {
	t.Helper()
	next := from
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		missed += e.Missed
		next += e.Missed
		if e.Value.N != next || e.Worker != w.Name() || e.Pid != w.Pid() {
			t.Fatalf("got number %d after %d missed from %s (%d), want %d", e.Value.N, e.Missed, e.Worker, e.Pid, next)
		}
		if next++; next == to {
			return missed
		}
	}
	t.Fatalf("the subscription ended at %d of %d", next, to)
	return 0
}

func TestEventsReachEverySubscriberInOrder(t *testing.T) {
	t.Parallel()
	w := start(t)
	tellNews(t, w, reportReq{To: 1000}) // which nobody wants
	one, two := follow(t, w), follow(t, w)
	tellNews(t, w, reportReq{To: 500})
	for _, events := range []iter.Seq2[client.Emitted[newsItem], error]{one, two} {
		if missed := checkNews(t, w, events, 0, 500); missed != 0 {
			t.Errorf("%d were missed", missed)
		}
	}
	status, err := w.Status(t.Context())
	if err != nil || status.InFlight != 0 {
		t.Errorf("%d calls in flight, %v", status.InFlight, err)
	}
	awaitNoHandler(t, w, "serveEvents")
}

// awaitNoHandler waits until the worker is in that function no more.
func awaitNoHandler(t *testing.T, w *client.Worker, name string) {
	t.Helper()
	await(t, "the end of "+name, func() bool {
		running, err := w.Stacks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(running, name)
	})
}

// LESSONS 30: neither the calls nor the other subscriber wait for the one that
// does not read, and it is told what it has missed.
func TestSlowSubscriberDelaysNobodyAndLearnsWhatItMissed(t *testing.T) {
	t.Parallel()
	w := start(t)
	slow := follow(t, w)
	const n = 5000
	for from := range 50 {
		quick := follow(t, w)
		tellNews(t, w, reportReq{from * n / 50, (from + 1) * n / 50, 4 << 10})
		if missed := checkNews(t, w, quick, from*n/50, (from+1)*n/50); missed != 0 {
			t.Errorf("the quick one missed %d", missed)
		}
		for range 10 {
			if _, err := client.Call(t.Context(), w, echo, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if missed := checkNews(t, w, slow, 0, n); missed == 0 {
		t.Error("the slow one missed nothing")
	}
}

func TestSubscriptionOutlivesABrokenConnection(t *testing.T) {
	t.Parallel()
	w := start(t)
	events := follow(t, w)
	tellNews(t, w, reportReq{To: 3})
	round, next := 0, 0
	var telling sync.WaitGroup
	defer telling.Wait()
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		if e.Value.N != next || (e.Missed > 0) != (round > 0 && next == round*3) {
			t.Fatalf("round %d: got %d after %d missed, want %d", round, e.Value.N, e.Missed, next)
		}
		if next++; next%3 != 0 {
			continue
		}
		if round++; round == 4 {
			break
		}
		telling.Wait() // for the answer, which comes after the news
		cut(t, w)
		more := reportReq{From: next, To: next + 3}
		telling.Go(func() { keepTelling(t, w, more) })
	}
	awaitNoHandler(t, w, "serveEvents")
}

// keepTelling has the worker emit the news as soon as it has a subscriber, whose
// connection may be broken.
func keepTelling(t *testing.T, w *client.Worker, r reportReq) {
	for t.Context().Err() == nil {
		running, err := w.Stacks(t.Context())
		if err == nil && strings.Contains(running, "serveEvents") {
			break
		}
	}
	if _, err := client.Call(t.Context(), w, report, r); err != nil {
		t.Error(err)
	}
}

// LESSONS 26
func TestSubscriptionEndsWithItsWorkerAndSaysWhy(t *testing.T) {
	t.Parallel()
	for how, act := range map[string]func(*client.Worker){
		"exit":  func(w *client.Worker) { _, _ = client.Call(t.Context(), w, end, "exit 3") },
		"Stop":  func(w *client.Worker) { polite(t, w.Stop(t.Context())) },
		"Kill":  func(w *client.Worker) { polite(t, w.Kill()) },
		"Close": func(w *client.Worker) { polite(t, w.Close()) },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			events := follow(t, w)
			tellNews(t, w, reportReq{To: 1})
			var outcome error
			got := 0
			for _, err := range events {
				if outcome = err; err == nil {
					got++
					go act(w)
				}
			}
			exit, ok := errors.AsType[*lifecycle.ExitError](outcome)
			if got != 1 || !errors.Is(outcome, client.ErrWorkerExited) || !ok || how == "exit" && exit.Code != 3 {
				t.Errorf("got %d events and %v", got, outcome)
			}
			awaitDone(t, "the end of the worker", w.Done())
			if _, err := client.Subscribe(t.Context(), w, news); err == nil {
				t.Error("there is another subscription")
			}
		})
	}
}

func TestSubscriptionOnASharedWorkerEndsWithClose(t *testing.T) {
	t.Parallel()
	w := join(t, quiet(), "followed", shared(newSharedRoot(t)))
	events := follow(t, w)
	tellNews(t, w, reportReq{To: 1})
	var outcome error
	for _, err := range events {
		if outcome = err; err == nil {
			w.Close()
		}
	}
	if !errors.Is(outcome, client.ErrClosed) {
		t.Errorf("got %v", outcome)
	}
}

func TestTheEndOfItsContextEndsASubscriptionWithoutAnError(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 { // whose loops never run
		if _, err := client.Subscribe(ctx, w, news); err != nil {
			t.Fatal(err)
		}
	}
	events, err := client.Subscribe(ctx, w, news)
	if err != nil {
		t.Fatal(err)
	}
	tellNews(t, w, reportReq{To: 1})
	for e, err := range events {
		if err != nil || e.Value.N != 0 {
			t.Errorf("got %+v, %v", e, err)
		}
		cancel()
	}
	awaitNoHandler(t, w, "serveEvents")
	if _, err := client.Subscribe(ctx, w, news); !errors.Is(err, context.Canceled) {
		t.Errorf("a subscription afterwards: %v", err)
	}
}

func TestAnEventOfAnotherTypeEndsTheSubscriptionWithAnError(t *testing.T) {
	t.Parallel()
	w := start(t)
	events, err := client.Subscribe(limited(t), w, alien)
	if err != nil {
		t.Fatal(err)
	}
	tellNews(t, w, reportReq{To: 2})
	yields := 0
	for _, err = range events {
		yields++
	}
	if yields != 1 || !errors.Is(err, transport.CodeInvalid) {
		t.Errorf("%d yields, the last with %v", yields, err)
	}
	awaitNoHandler(t, w, "serveEvents")
}

// A worker of an earlier build has no events.
func TestSubscriptionOnAWorkerWithoutEventsIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	cmd := self()
	cmd.Env = append(os.Environ(), roleEnv+"=fake plain")
	w := startWith(t, &client.Dialer{}, cmd)
	if _, err := client.Subscribe(t.Context(), w, news); !errors.Is(err, transport.CodeUnknownMethod) {
		t.Errorf("got %v", err)
	}
	_ = w.Kill()
}

// LESSONS 29
func TestStopDoesNotWaitForASubscriberThatDoesNotRead(t *testing.T) {
	t.Parallel()
	cmd := self()
	cmd.Grace = 4 * patience // of which Stop would wait a half
	w := startWith(t, &client.Dialer{}, cmd)
	events := follow(t, w)
	tellNews(t, w, reportReq{0, 100, 64 << 10})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		t.Error(err)
	}
	var outcome error
	for _, outcome = range events {
	}
	if !errors.Is(outcome, client.ErrWorkerExited) {
		t.Errorf("got %v", outcome)
	}
}

func TestQuietSubscriptionHasNoTimeLimit(t *testing.T) {
	t.Parallel()
	w := startWith(t, &client.Dialer{Timeout: 50 * time.Millisecond}, self())
	events := follow(t, w)
	meanwhile(300 * time.Millisecond)
	if _, err := client.Call(t.Context(), w, report, reportReq{To: 1}, client.Timeout(-1)); err != nil {
		t.Fatal(err)
	}
	checkNews(t, w, events, 0, 1)
}
