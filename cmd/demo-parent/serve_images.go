package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// images answers the requests for images: each is one call of a worker.
type images struct {
	workers client.Caller
	stats   func() client.PoolStats // of the workers' pool
	log     logrus.FieldLogger

	// places has a value for each request whose image is in memory. Its capacity bounds that: an image comes as fast as
	// its sender likes, and is taken before it is known whether the queue has a place.
	places chan struct{}
}

// thumbnail answers a request to make an image smaller.
func (s *images) thumbnail(w http.ResponseWriter, r *http.Request) {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		s.refuse(w, r, errTooManyUploads)
		return
	}
	req, err := thumbnailRequest(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.answer(w, r, func(ctx context.Context) (api.ImageReply, error) {
		return client.Call(ctx, s.workers, api.Thumbnail, req, client.Idempotent())
	})
}

// sample answers a request for an image to try things with.
func (s *images) sample(w http.ResponseWriter, r *http.Request) {
	q := newQuery(r.URL, "width", "height")
	req := api.SampleRequest{Width: q.number("width"), Height: q.number("height")}
	if q.err != nil {
		s.refuse(w, r, q.err)
		return
	}
	s.answer(w, r, func(ctx context.Context) (api.ImageReply, error) {
		return client.Call(ctx, s.workers, api.Sample, req, client.Idempotent())
	})
}

// answer has a worker make the image and sends it. The work ends when the client has gone.
func (s *images) answer(w http.ResponseWriter, r *http.Request, do func(context.Context) (api.ImageReply, error)) {
	reply, err := do(r.Context())
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "image/"+reply.Format)
	header.Set("Content-Length", strconv.Itoa(len(reply.Image)))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Worker-Pid", strconv.Itoa(reply.Pid))
	_, _ = w.Write(reply.Image) // who does not take it does not need it
}

// refuse says why there is no image.
func (s *images) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := refusalOf(err)
	if refusal.status == statusClientGone {
		return // nobody reads it
	}
	if refusal.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter(s.stats()))
	}
	if refusal.fault {
		s.log.Warnf("%s %s: %d: %s", r.Method, r.URL.Path, refusal.status, refusal.text)
	}
	http.Error(w, refusal.text, refusal.status)
}

// The longest time that a client is told to wait.
const maxRetryAfter = time.Minute

// retryAfter estimates when a queue that is full has been worked off, in whole seconds, 1 at least.
func retryAfter(stats client.PoolStats) string {
	workers := max(1, stats.Busy+stats.Idle)
	rounds := stats.Queued/workers + 1
	wait := min(time.Duration(rounds)*stats.Run.Quantile(0.5), maxRetryAfter)
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

// errSlowUpload is for a client that takes longer than a request may.
var errSlowUpload = errors.New("the image did not come in time")

// thumbnailRequest returns what a client asks for.
func thumbnailRequest(w http.ResponseWriter, r *http.Request) (req api.ThumbnailRequest, err error) {
	q := newQuery(r.URL, "width", "height", "format")
	req.Width, req.Height, req.Format = q.number("width"), q.number("height"), q.values.Get("format")
	if q.err == nil && req.Width == 0 && req.Height == 0 {
		q.err = badRequest{"a width or a height is needed, as in /thumbnail?width=200"}
	}
	if q.err != nil {
		return req, q.err
	}
	if r.ContentLength > api.MaxImage { // and need not even be sent
		return req, &http.MaxBytesError{Limit: api.MaxImage}
	}
	req.Image, err = io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxImage))
	switch _, tooLarge := errors.AsType[*http.MaxBytesError](err); {
	case tooLarge:
		return req, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return req, errSlowUpload
	case err != nil:
		return req, badRequest{fmt.Sprintf("the image can't be read: %v", err)}
	case len(req.Image) == 0:
		return req, badRequest{"the body has to be an image, as curl --data-binary @image.png sends it"}
	}
	return req, nil
}

// query is what a URL asks for.
type query struct {
	values url.Values
	err    error // the first fault
}

// newQuery returns the query of a URL, in which only those with these names may be.
func newQuery(u *url.URL, names ...string) *query {
	values, err := url.ParseQuery(u.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.err = badRequest{fmt.Sprintf("the query can't be read: %v", err)}
	}
	for name := range values {
		if q.err == nil && !slices.Contains(names, name) {
			q.err = badRequest{fmt.Sprintf("%q is not understood, only %q", name, names)}
		}
	}
	return q
}

// number returns a number, 0 if it is not asked for.
func (q *query) number(name string) int {
	text := q.values.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if (err != nil || n < 1) && q.err == nil {
		q.err = badRequest{fmt.Sprintf("%s is %q and has to be a whole number from 1 on", name, text)}
	}
	return n
}
