package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// errRefused is the outcome of a request that was answered with 503 and not sent again.
var errRefused = errors.New("refused")

// loader sends one request to a server again and again.
type loader struct {
	http    *http.Client
	base    *url.URL
	target  string        // of the request
	image   []byte        // that is made smaller
	want    []byte        // the answer
	retry   bool          // what is refused is sent again
	timeout time.Duration // of a request, with all that it was sent again
}

// newLoader returns a loader for the server at an address, from which it has an image and what becomes of it.
func newLoader(ctx context.Context, address string, o *loadOptions) (*loader, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: o.concurrency, DisableCompression: true}
	l := &loader{http: &http.Client{Transport: transport}, base: base, retry: o.retry, timeout: o.timeout}
	target := base.JoinPath("thumbnail")
	target.RawQuery = "width=" + strconv.Itoa(o.width)
	l.target = target.String()
	if l.image, err = l.get(ctx, "sample.png"); err == nil {
		_, l.want, err = l.send(ctx, true)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("try the server: %w", err)
	}
	return l, nil
}

func (l *loader) close() { l.http.CloseIdleConnections() }

// run sends n requests, so many at a time, until ctx ends.
func (l *loader) run(ctx context.Context, n, concurrency int, t *tally) {
	var sent atomic.Int64
	var senders sync.WaitGroup
	began := time.Now()
	for range min(n, concurrency) {
		senders.Go(func() {
			for ctx.Err() == nil && sent.Add(1) <= int64(n) {
				start := time.Now()
				refused, err := l.request(ctx)
				t.done(ctx, time.Since(start), refused, err)
			}
		})
	}
	senders.Wait()
	t.elapsed += time.Since(began)
}

// request sends one request and checks the answer. It returns how often it was refused.
func (l *loader) request(ctx context.Context) (refused int, err error) {
	refused, got, err := l.send(ctx, l.retry)
	if err == nil && !bytes.Equal(got, l.want) {
		err = fmt.Errorf("the answer of %d bytes is not the one of %d bytes that came first", len(got), len(l.want))
	}
	return refused, err
}

// send sends one request and returns the answer. With retry one that is refused is sent again, when the server says.
func (l *loader) send(ctx context.Context, retry bool) (refused int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	for {
		answer, pause, err := l.post(ctx)
		if !errors.Is(err, errRefused) {
			return refused, answer, err
		}
		refused++
		if !retry {
			return refused, nil, err
		}
		if err := sleep(ctx, pause); err != nil {
			return refused, nil, fmt.Errorf("refused %d times: %w", refused, err)
		}
	}
}

// sleep returns when d has passed, or with the reason when ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post sends one request once. If it is refused it returns when to send it again.
func (l *loader) post(ctx context.Context) (answer []byte, pause time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.target, bytes.NewReader(l.image))
	if err != nil {
		return nil, 0, err
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	answer, err = read(resp)
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, pauseOf(resp.Header), errRefused
	}
	return answer, 0, err
}

// pauseOf returns how long a server that refuses a request says to wait, a second if it does not say.
func pauseOf(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return time.Second
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

// get returns what there is at a path of the server.
func (l *loader) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base.JoinPath(path).String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return nil, err
	}
	return read(resp)
}

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 2 * api.MaxImage

// read returns the body of an answer of 200, and of another one an error that says what it is.
func read(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		line, _, _ := strings.Cut(string(body), "\n")
		err = fmt.Errorf("%s: %s", resp.Status, shorten(line, 200))
	}
	return body, err
}

// workers returns how many workers the server says that it has, 0 if it doesn't.
func (l *loader) workers(ctx context.Context) int {
	var report statusReport
	body, err := l.get(ctx, "status")
	if err != nil || json.Unmarshal(body, &report) != nil {
		return 0
	}
	return report.Workers.Wanted
}
