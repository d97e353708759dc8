package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits bound what a worker's process may use. The worker applies them to itself before any code of its program runs. Zero
// leaves a field as the worker inherits it; a negative value is refused by Start, but for Nice. What the worker may not have,
// because it is above a hard limit that it inherited for example, ends it at once, with a message that names the field.
//
// Memory, CPU and OpenFiles hold for each process that the worker starts as well, on its own account. They are set on
// Linux; elsewhere on Unix all but Memory; where a field cannot be set Start refuses it with [errors.ErrUnsupported].
type Limits struct {
	// Memory is how much memory for data the process may have, in bytes: all that it can write to and shares with nobody,
	// whether it is used or only mapped (RLIMIT_DATA). A Go worker that needs more ends with a fatal error. One that does nothing
	// has about 75 MiB (on Linux and amd64), most of it never used, and one that is linked with C, as package net is where it can
	// be, 8 MiB for each of its threads besides: with less than that it may not even begin to serve.
	Memory int64 `json:"memory,omitzero"`
	// CPU is how much processor time the process may use in its whole life, all threads together (RLIMIT_CPU). It is rounded
	// up to whole seconds. A worker that is over it leaves, within its grace.
	CPU time.Duration `json:"cpu,omitzero"`
	// OpenFiles is how many descriptors the process may have (RLIMIT_NOFILE), those included that the worker has for itself:
	// about twelve, and one for each connection. What would need one more fails; a worker that has had none left for a second
	// leaves.
	OpenFiles int `json:"open_files,omitzero"`
	// Nice is the nice value itself, from -20 to 19, and not a step. Less than what the worker inherits needs privileges. The
	// processes that the worker starts inherit it.
	Nice int `json:"nice,omitzero"`
	// GoMaxProcs is how many threads of a Go worker run Go code at the same time, at most 65536. It counts more than GOMAXPROCS
	// in the environment, holds on all systems, and is not inherited.
	GoMaxProcs int `json:"go_max_procs,omitzero"`
	// GoMemory is the memory, in bytes, that a Go worker's runtime tries to stay below by collecting garbage more often. It
	// counts more than GOMEMLIMIT in the environment, holds on all systems, and is not inherited. It belongs well below Memory.
	GoMemory int64 `json:"go_memory,omitzero"`
}

// Values of [ExitError.Limit]: the limit that a worker was over.
const (
	LimitMemory    = "memory"
	LimitCPU       = "cpu"
	LimitOpenFiles = "open files"
)

const (
	minNice, maxNice = -20, 19
	maxGoMaxProcs    = 1 << 16
)

// setting is a field of Limits that is set.
type setting struct {
	field, value string
	fault        string // why it cannot be meant, empty if it can
}

// settings returns the fields that are set, in order.
func (l Limits) settings() []setting {
	all := []setting{
		{"Memory", bytesText(l.Memory), negative(l.Memory)},
		{"CPU", l.CPU.String(), negative(int64(l.CPU))},
		{"OpenFiles", strconv.Itoa(l.OpenFiles), negative(int64(l.OpenFiles))},
		{"Nice", strconv.Itoa(l.Nice), outside(l.Nice, minNice, maxNice)},
		{"GoMaxProcs", strconv.Itoa(l.GoMaxProcs), outside(l.GoMaxProcs, 0, maxGoMaxProcs)},
		{"GoMemory", bytesText(l.GoMemory), negative(l.GoMemory)},
	}
	return slices.DeleteFunc(all, func(s setting) bool { return s.value == "0" || s.value == "0s" })
}

func negative(n int64) string {
	if n < 0 {
		return "is negative"
	}
	return ""
}

func outside(n, low, high int) string {
	if n < low || n > high {
		return fmt.Sprintf("is not from %d to %d", low, high)
	}
	return ""
}

// bytesText returns a number of bytes in the largest unit that gives a whole number.
func bytesText(n int64) string {
	switch {
	case n == 0:
		return "0"
	case n%(1<<30) == 0:
		return strconv.FormatInt(n>>30, 10) + " GiB"
	case n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// String returns the fields that are set, such as "Memory 256 MiB, Nice 5", and "none" if none is.
func (l Limits) String() string {
	var texts []string
	for _, s := range l.settings() {
		texts = append(texts, s.field+" "+s.value)
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, ", ")
}

// check refuses what cannot be meant, and then what cannot be had on this system. It names all the fields that it refuses.
func (l Limits) check() error {
	var invalid, unsupported []string
	for _, s := range l.settings() {
		if s.fault != "" {
			invalid = append(invalid, fmt.Sprintf("Limits.%s of %s %s", s.field, s.value, s.fault))
		}
		if slices.Contains(unsupportedLimits, s.field) {
			unsupported = append(unsupported, "Limits."+s.field)
		}
	}
	switch {
	case len(invalid) > 0:
		return fmt.Errorf("%s: %w", strings.Join(invalid, ", "), fs.ErrInvalid)
	case len(unsupported) > 0:
		return fmt.Errorf("%s: %w on %s", strings.Join(unsupported, ", "), errors.ErrUnsupported, runtime.GOOS)
	}
	return nil
}

// whole returns the limits as they are applied.
func (l Limits) whole() Limits {
	if part := l.CPU % time.Second; part > 0 && l.CPU < math.MaxInt64-time.Second {
		l.CPU += time.Second - part
	}
	return l
}

// toldOf is whether there is a limit of which the worker itself tells that it is over it.
func (l Limits) toldOf() bool { return l.CPU > 0 || l.OpenFiles > 0 }

// apply sets the limits of this process. grace is what it has to leave once it is over the limit of processor time.
func (l Limits) apply(grace time.Duration) error {
	if l.GoMaxProcs > 0 {
		runtime.GOMAXPROCS(l.GoMaxProcs)
	}
	if l.GoMemory > 0 {
		debug.SetMemoryLimit(l.GoMemory)
	}
	var failed []string
	for _, s := range l.settings() {
		if err := l.applyField(s.field, grace); err != nil {
			failed = append(failed, fmt.Sprintf("Limits.%s of %s: %v", s.field, s.value, err))
		}
	}
	if len(failed) > 0 {
		return errors.New("apply the limits: " + strings.Join(failed, ", "))
	}
	return nil
}

// lastSeconds is the processor time, in seconds, from the limit to the end that the kernel makes: all of the processors that
// the process may use during its grace, so that its own orderly exit comes first.
func lastSeconds(grace time.Duration) uint64 {
	wait := max(grace, 0) + exitMargin
	return uint64(math.Ceil(wait.Seconds())) * uint64(runtime.GOMAXPROCS(0))
}

// over says which limit was exceeded, and how much it is if that is known.
func (l Limits) over(limit string) string {
	const text = "over its limit of "
	switch {
	case limit == LimitMemory && l.Memory > 0:
		return "out of memory: " + text + bytesText(l.Memory) + " of memory"
	case limit == LimitCPU && l.CPU > 0:
		return text + l.CPU.String() + " of CPU time"
	case limit == LimitOpenFiles && l.OpenFiles > 0:
		return fmt.Sprintf("%s%d open files", text, l.OpenFiles)
	}
	return text + limit
}
