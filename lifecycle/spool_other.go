//go:build !linux

package lifecycle

import (
	"errors"
	"os"
	"time"
)

// dropOutput is not supported: the spool is truncated instead, and a line that is written in that instant may be lost.
func dropOutput(*os.File, int64, int64) error { return errors.ErrUnsupported }

// nextData knows of no holes.
func nextData(_ *os.File, off int64) int64 { return off }

// noSpace is not known.
func noSpace(*os.File) bool { return false }

// growthPoll is how often the size is looked at.
const growthPoll = 50 * time.Millisecond

// growth looks at the file's size from time to time. What happens in directories is not noticed here.
func growth(f *os.File, _ []string, _ func()) (wait, forget func()) {
	return growthByPolling(f, growthPoll, func() {}), func() {}
}
