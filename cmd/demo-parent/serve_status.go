package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// site is everything that the server answers with.
type site struct {
	pool   *client.Pool
	ledger *ledger
	queue  int // how many requests may wait
	began  time.Time
}

// newSite returns the handler of the server.
func newSite(pool *client.Pool, l *ledger, o serveOptions, log logrus.FieldLogger) http.Handler {
	s := &site{pool: pool, ledger: l, queue: o.queue, began: time.Now()}
	i := &images{
		workers: pool,
		stats:   pool.Stats,
		log:     log,
		places:  make(chan struct{}, 2*(o.workers+o.queue)), // as many as the pool takes, and as many that come
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /thumbnail", i.thumbnail)
	mux.HandleFunc("GET /sample.png", i.sample)
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /{$}", s.page)
	return mux
}

// statusReport is what the pool does, as /status tells it.
type statusReport struct {
	Ready     bool           `json:"ready"`
	Trouble   string         `json:"trouble,omitempty"` // why it is not
	Uptime    float64        `json:"uptime_seconds"`
	Workers   workerCounts   `json:"workers"`
	Processes []process      `json:"processes"`
	Queue     queueReport    `json:"queue"`
	Calls     callCounts     `json:"calls"`
	Starts    startCounts    `json:"starts"`
	Wait      durationReport `json:"wait"` // for a worker
	Run       durationReport `json:"run"`  // on a worker
	Events    []eventReport  `json:"events"`
}

// workerCounts are the workers by state.
type workerCounts struct {
	Wanted   int `json:"wanted"`
	Starting int `json:"starting"`
	Busy     int `json:"busy"`
	Idle     int `json:"idle"`
	Leaving  int `json:"leaving"`
	Stopping int `json:"stopping"`
}

type queueReport struct {
	Length int `json:"length"`
	Limit  int `json:"limit"`
}

// callCounts are the calls since the start, but for those that run.
type callCounts struct {
	Running       int    `json:"running"`
	Ended         uint64 `json:"ended"`
	Failed        uint64 `json:"failed"`
	Refused       uint64 `json:"refused"`
	QueueTimeouts uint64 `json:"queue_timeouts"`
	Timeouts      uint64 `json:"timeouts"`
	Canceled      uint64 `json:"canceled"`
	Retries       uint64 `json:"retries"`
}

// startCounts are the starts and ends of workers since the start.
type startCounts struct {
	Ready    uint64                   `json:"ready"`
	Failed   uint64                   `json:"failed"`
	Restarts uint64                   `json:"restarts"`
	Ends     map[client.Reason]uint64 `json:"ends"`
}

// durationReport has durations in milliseconds.
type durationReport struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

type eventReport struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// status answers with the report as JSON.
func (s *site) status(w http.ResponseWriter, r *http.Request) {
	header(w, "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(s.report(r.Context())) // who does not take it does not need it
}

// health answers whether all workers are ready.
func (s *site) health(w http.ResponseWriter, r *http.Request) {
	header(w, "text/plain; charset=utf-8")
	text := "ready"
	if trouble := s.trouble(r.Context()); trouble != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = trouble
	}
	_, _ = fmt.Fprintln(w, text)
}

func header(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
}

// trouble says why the pool is not ready, empty if it is.
func (s *site) trouble(ctx context.Context) string {
	ctx, cancel := context.WithCancel(ctx)
	cancel() // what is not so now is not waited for
	err := s.pool.Ready(ctx)
	return strings.TrimPrefix(firstLine(err), "wait for the pool: context canceled: ")
}

// report returns what the pool does now.
func (s *site) report(ctx context.Context) statusReport {
	stats := s.pool.Stats()
	trouble := s.trouble(ctx)
	return statusReport{
		Ready:     trouble == "",
		Trouble:   trouble,
		Uptime:    time.Since(s.began).Seconds(),
		Workers:   newWorkerCounts(&stats),
		Processes: newProcesses(s.pool.Slots()),
		Queue:     queueReport{Length: stats.Queued, Limit: s.queue},
		Calls:     newCallCounts(&stats),
		Starts:    startCounts{stats.Starts, stats.StartFailures, stats.Restarts(), stats.Ends},
		Wait:      newDurationReport(&stats.Wait),
		Run:       newDurationReport(&stats.Run),
		Events:    newEventReports(s.ledger.look()),
	}
}

// process is one worker.
type process struct {
	Slot   int              `json:"slot"`
	Pid    int              `json:"pid,omitempty"` // not known while it starts
	State  client.SlotState `json:"state"`
	Reason client.Reason    `json:"reason,omitempty"` // why it is to be replaced, or leaves
	Calls  int              `json:"calls"`            // that it has been given
	Began  time.Time        `json:"began"`
	RSS    int64            `json:"rss_bytes,omitempty"`
}

func newProcesses(slots []client.PoolSlot) []process {
	list := make([]process, 0, len(slots)) // [] and not null
	for _, s := range slots {
		p := process{Slot: s.Slot, Pid: s.Pid, State: s.State, Reason: s.Reason, Calls: s.Calls, Began: s.Began}
		if p.Pid != 0 {
			p.RSS = lifecycle.ReadUsage(p.Pid).RSS
		}
		list = append(list, p)
	}
	return list
}

func newWorkerCounts(s *client.PoolStats) workerCounts {
	return workerCounts{
		Wanted: s.Wanted, Starting: s.Starting, Busy: s.Busy, Idle: s.Idle, Leaving: s.Leaving, Stopping: s.Stopping,
	}
}

func newCallCounts(s *client.PoolStats) callCounts {
	return callCounts{
		Running: s.Running, Ended: s.Calls, Failed: s.Failed, Refused: s.Refused, QueueTimeouts: s.QueueTimeouts,
		Timeouts: s.Timeouts, Canceled: s.Canceled, Retries: s.Retries,
	}
}

func newDurationReport(h *client.Histogram) durationReport {
	return durationReport{
		Count: h.Count,
		P50:   milliseconds(h.Quantile(0.5)),
		P90:   milliseconds(h.Quantile(0.9)),
		P99:   milliseconds(h.Quantile(0.99)),
		Max:   milliseconds(h.Max),
	}
}

func newEventReports(events []client.PoolEvent) []eventReport {
	reports := make([]eventReport, 0, len(events))
	for _, e := range events {
		reports = append(reports, eventReport{Time: e.Time, Text: describe(e)})
	}
	return reports
}
