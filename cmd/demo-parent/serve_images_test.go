package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// fakeWorkers is a Caller that answers as it is told to.
type fakeWorkers struct {
	client.Caller
	err   error
	wait  func(context.Context) // if not nil, what a call does
	calls atomic.Int64
	last  *client.Request
}

func (f *fakeWorkers) Invoke(ctx context.Context, req *client.Request, reply any) error {
	f.calls.Add(1)
	f.last = req
	if f.wait != nil {
		f.wait(ctx)
	}
	if f.err == nil {
		*reply.(*api.ImageReply) = api.ImageReply{Image: []byte("small"), Format: "png", Pid: 4711}
	}
	return f.err
}

// newImages returns the handlers for images, with a pool that has one worker and a call that took a second.
func newImages(f *fakeWorkers) *images {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &images{
		workers: f,
		stats: func() client.PoolStats {
			return client.PoolStats{Queued: 2, Busy: 1, Run: client.Histogram{Count: 1, Max: time.Second}}
		},
		log:    log,
		places: make(chan struct{}, 1),
	}
}

// post sends a handler an image.
func post(handler http.HandlerFunc, target string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(http.MethodPost, target, body))
	return w
}

func TestAnErrorOfACallHasItsStatus(t *testing.T) {
	notSent := func(err error) error { return fmt.Errorf("call thumbnail: %w: %w", transport.ErrNotSent, err) }
	exit := &lifecycle.ExitError{Name: "w", Output: []byte("secret")}
	died := fmt.Errorf("call thumbnail: %w", errors.Join(client.ErrWorkerExited, exit))
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{notSent(client.ErrQueueFull), http.StatusServiceUnavailable, "queue is full"},
		{notSent(client.ErrQueueTimeout), http.StatusServiceUnavailable, "queue is over"},
		{notSent(client.ErrRestartLimit), http.StatusServiceUnavailable, "fail again and again"},
		{notSent(client.ErrClosed), http.StatusServiceUnavailable, "closed"},
		{&transport.Error{Code: transport.CodeInvalid, Method: "thumbnail", Message: "no image"}, http.StatusBadRequest, "no image\n"},
		{&transport.Error{Code: transport.CodeTooLarge}, http.StatusBadRequest, "smaller"},
		{&transport.Error{Code: transport.CodeDeadline, Message: "limit 1s"}, http.StatusGatewayTimeout, "limit 1s"},
		{&transport.Error{Code: transport.CodePanic, Message: "oops", Stack: "secret"}, http.StatusInternalServerError, "oops"},
		{died, http.StatusBadGateway, "worker exited"},
		{&client.RetryError{Tries: 3, Err: client.ErrWorkerExited}, http.StatusBadGateway, "after 3 tries"},
		{fmt.Errorf("call: %w", client.ErrConnectionLost), http.StatusBadGateway, ""},
	} {
		w := post(newImages(&fakeWorkers{err: c.err}).thumbnail, "/thumbnail?width=1", strings.NewReader("image"))
		body := w.Body.String()
		if w.Code != c.status || !strings.Contains(body, c.text) || strings.Contains(body, "secret") || strings.Count(body, "\n") != 1 {
			t.Errorf("%v: got %d and %q, want %d and %q in one line", c.err, w.Code, body, c.status, c.text)
		}
		want := ""
		if c.status == http.StatusServiceUnavailable {
			want = "3"
		}
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%v: Retry-After is %q, want %q", c.err, got, want)
		}
	}
}

func TestAClientThatHasGoneIsAnsweredNothing(t *testing.T) {
	f := &fakeWorkers{err: &transport.Error{Code: transport.CodeCanceled}}
	w := post(newImages(f).thumbnail, "/thumbnail?width=1", strings.NewReader("image"))
	if w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("got %v and %q", w.Header(), w.Body.String())
	}
}

func TestWhenToComeBackIsAsLongAsTheQueueTakes(t *testing.T) {
	second := client.Histogram{Count: 1, Max: time.Second}
	for _, c := range []struct {
		stats client.PoolStats
		want  string
	}{
		{client.PoolStats{}, "1"},
		{client.PoolStats{Queued: 64, Busy: 2}, "1"}, // when nothing has run yet
		{client.PoolStats{Queued: 8, Busy: 2, Run: second}, "5"},
		{client.PoolStats{Queued: 8, Busy: 3, Idle: 1, Run: second}, "3"},
		{client.PoolStats{Queued: 1, Run: second}, "2"}, // without a worker
		{client.PoolStats{Queued: 1000, Busy: 2, Run: second}, "60"},
		{client.PoolStats{Queued: 2, Busy: 1, Run: client.Histogram{Count: 1, Max: 400 * time.Millisecond}}, "2"},
	} {
		if got := retryAfter(c.stats); got != c.want {
			t.Errorf("%d queued, %d busy: got %s, want %s", c.stats.Queued, c.stats.Busy, got, c.want)
		}
	}
}

func TestABadRequestIsRefusedBeforeAWorkerSeesIt(t *testing.T) {
	large := func() io.Reader { return bytes.NewReader(make([]byte, api.MaxImage+1)) }
	for _, c := range []struct {
		target string
		body   io.Reader
		status int
		text   string
	}{
		{"/thumbnail", strings.NewReader("image"), http.StatusBadRequest, "a width or a height is needed"},
		{"/thumbnail?width=x", strings.NewReader("image"), http.StatusBadRequest, `width is "x"`},
		{"/thumbnail?width=-1", strings.NewReader("image"), http.StatusBadRequest, `width is "-1"`},
		{"/thumbnail?height=0", strings.NewReader("image"), http.StatusBadRequest, `height is "0"`},
		{"/thumbnail?width=1&widht=2", strings.NewReader("image"), http.StatusBadRequest, `"widht" is not understood`},
		{"/thumbnail?width=1;2", strings.NewReader("image"), http.StatusBadRequest, "the query can't be read"},
		{"/thumbnail?width=1", http.NoBody, http.StatusBadRequest, "the body has to be an image"},
		{"/thumbnail?width=1", large(), http.StatusRequestEntityTooLarge, "more than 12582912 bytes"},
		// The same without its length.
		{"/thumbnail?width=1", io.MultiReader(large()), http.StatusRequestEntityTooLarge, "more than 12582912 bytes"},
	} {
		f := &fakeWorkers{}
		w := post(newImages(f).thumbnail, c.target, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) || f.calls.Load() > 0 {
			t.Errorf("%s: got %d and %q after %d calls, want %d and %q", c.target, w.Code, w.Body, f.calls.Load(), c.status, c.text)
		}
	}
}

func TestMoreImagesThanThereIsRoomForAreRefused(t *testing.T) {
	f := &fakeWorkers{}
	i := newImages(f)
	i.places <- struct{}{}
	w := post(i.thumbnail, "/thumbnail?width=1", strings.NewReader("image"))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || f.calls.Load() > 0 {
		t.Errorf("got %d after %d calls", w.Code, f.calls.Load())
	}
	<-i.places
	for range 3 { // each gives its room back
		if w := post(i.thumbnail, "/thumbnail?width=1", strings.NewReader("image")); w.Code != http.StatusOK {
			t.Errorf("with room: got %d and %s", w.Code, w.Body)
		}
	}
}

func TestARequestIsACallThatMayBeRunAgain(t *testing.T) {
	f := &fakeWorkers{}
	w := post(newImages(f).thumbnail, "/thumbnail?width=20&height=10&format=jpeg", strings.NewReader("image"))
	header := w.Header()
	if w.Code != http.StatusOK || w.Body.String() != "small" {
		t.Errorf("got %d and %q", w.Code, w.Body)
	}
	if header.Get("Content-Type") != "image/png" || header.Get("X-Worker-Pid") != "4711" {
		t.Errorf("got the header %v", header)
	}
	req, ok := f.last.Body.(api.ThumbnailRequest)
	if !ok || !f.last.Idempotent || req.Width != 20 || req.Height != 10 || req.Format != "jpeg" || string(req.Image) != "image" {
		t.Errorf("the call is %+v", f.last)
	}
	w = post(newImages(f).sample, "/sample.png?width=20&height=10", http.NoBody)
	if sample, ok := f.last.Body.(api.SampleRequest); !ok || !f.last.Idempotent || sample.Width != 20 || sample.Height != 10 {
		t.Errorf("the call is %+v, and the answer %d", f.last, w.Code)
	}
}

func TestARequestEndsWithItsClient(t *testing.T) {
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(newImages(&fakeWorkers{
		err: &transport.Error{Code: transport.CodeCanceled},
		wait: func(call context.Context) {
			cancel()
			select {
			case <-call.Done():
				close(ended)
			case <-t.Context().Done():
			}
		},
	}).thumbnail))
	t.Cleanup(server.Close)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/thumbnail?width=1", strings.NewReader("image"))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("got %s", resp.Status)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the call goes on though the client has gone")
	}
}
