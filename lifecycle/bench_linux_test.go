package lifecycle

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkOwnerDeathToExit measures the time from SIGKILL of the owner to the worker's last act, and to its end as others
// see it.
func BenchmarkOwnerDeathToExit(b *testing.B) {
	var acts, ends []time.Duration
	for b.Loop() {
		b.StopTimer()
		s := startBelow(b, starterPlan{Role: "idle", Ready: true})
		b.StartTimer()
		killed := time.Now()
		_ = s.cmd.Process.Kill()
		for err := error(nil); err == nil; _, err = os.Lstat(s.Dir) {
			time.Sleep(100 * time.Microsecond) // await looks too seldom for this
		}
		acts = append(acts, time.Since(killed))
		for !s.worker.gone() {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.worker.fd), Events: unix.POLLIN}}, -1)
		}
		ends = append(ends, time.Since(killed))
		b.StopTimer()
		s.killStarter()
		b.StartTimer()
	}
	b.ReportMetric(median(acts), "last-act-median-ms")
	b.ReportMetric(median(ends), "median-ms")
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}

// BenchmarkStart measures the time to start a process, without its way to readiness.
func BenchmarkStart(b *testing.B) {
	c := role(b, "idle")
	for b.Loop() {
		p, err := c.Start(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.Kill(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
