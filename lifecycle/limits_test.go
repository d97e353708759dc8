package lifecycle

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLimitsThatCannotBeMeantAreAllNamedBeforeAnythingIsStarted(t *testing.T) {
	for _, test := range []struct {
		limits Limits
		want   string
	}{
		{Limits{Memory: -1}, "Limits.Memory of -1 bytes is negative"},
		{Limits{CPU: -time.Second}, "Limits.CPU of -1s is negative"},
		{Limits{OpenFiles: -3}, "Limits.OpenFiles of -3 is negative"},
		{Limits{Nice: -21}, "Limits.Nice of -21 is not from -20 to 19"},
		{Limits{Nice: 20}, "Limits.Nice of 20 is not from -20 to 19"},
		{Limits{GoMaxProcs: -1}, "Limits.GoMaxProcs of -1 is not from 0 to 65536"},
		{Limits{GoMaxProcs: math.MaxInt32}, "Limits.GoMaxProcs of 2147483647 is not from 0 to 65536"},
		{Limits{GoMemory: math.MinInt64}, "Limits.GoMemory of -8589934592 GiB is negative"},
		{Limits{Memory: -1 << 20, CPU: time.Hour, Nice: 40}, "Limits.Memory of -1 MiB is negative, Limits.Nice of 40 is not from -20 to 19"},
	} {
		c := Command{Path: "sleep", Limits: test.limits, RuntimeDir: filepath.Join(t.TempDir(), "runtime")}
		p, err := c.Start(t.Context())
		if err == nil {
			p.Kill()
			t.Errorf("started, want %q", test.want)
			continue
		}
		if want := "start sleep: " + test.want + ": " + fs.ErrInvalid.Error(); err.Error() != want || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("got %q, want %q", err, want)
		}
		if _, err := os.Lstat(c.RuntimeDir); err == nil {
			t.Errorf("%q: the runtime directory was made", test.want)
		}
	}
}

func TestLimitsThatTheSystemDoesNotHaveAreRefused(t *testing.T) {
	had := unsupportedLimits
	defer func() { unsupportedLimits = had }()
	unsupportedLimits = []string{"Memory", "Nice"}
	if err := (Limits{Memory: 1, CPU: 1, Nice: -1}).check(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	if err := (Limits{CPU: 1, GoMaxProcs: 1, GoMemory: 1}).check(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestLimitsReadWell(t *testing.T) {
	for want, limits := range map[string]Limits{
		"none":                                  {},
		"Memory 256 MiB, CPU 2s, OpenFiles 7":   {Memory: 256 << 20, CPU: 2 * time.Second, OpenFiles: 7},
		"Nice -5, GoMaxProcs 2, GoMemory 1 GiB": {Nice: -5, GoMaxProcs: 2, GoMemory: 1 << 30},
		"Memory 3 KiB, GoMemory 1025 bytes":     {Memory: 3 << 10, GoMemory: 1025},
	} {
		if got := limits.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestProcessorTimeIsRoundedUpToWholeSeconds(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{
		0: 0, 1: time.Second, time.Second: time.Second, 1500 * time.Millisecond: 2 * time.Second,
	} {
		if got := (Limits{CPU: given}).whole().CPU; got != want {
			t.Errorf("%v: got %v, want %v", given, got, want)
		}
	}
}
