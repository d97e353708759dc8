package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

const (
	// envNested is a list of the workers that a process is in, outermost first: the key of a shared one's name, or
	// plainWorker.
	envNested   = "UNREF_NESTED"
	plainWorker = "-"

	// maxNested is how many workers may be started from within each other.
	maxNested = 16
)

// ErrNested means that a worker would have been started from within itself: directly, or through programs and other
// workers that it runs; or that workers were started from within workers 16 deep.
var ErrNested = errors.New("workers start themselves from within themselves")

func nested() []string {
	list := os.Getenv(envNested)
	if list == "" {
		return nil
	}
	return strings.Split(list, ":")
}

// IsInside returns whether this process is the registry's shared worker of that name, or was started from within it, at any
// depth. Such a process may call that worker, but must not wait for its start or replace it.
func (r *Registry) IsInside(name string) bool {
	return slices.Contains(nested(), r.nestedKey(name))
}

// nestedKey stands for a name in one registry and in no other.
func (r *Registry) nestedKey(name string) string { return key(r.dir + "\x00" + name) }

func checkNested() error {
	if len(nested()) < maxNested {
		return nil
	}
	return fmt.Errorf("%w, %d deep", ErrNested, maxNested)
}

// nestedIn returns the variable for a worker that this process starts.
func nestedIn(shared *sharing) string {
	own := plainWorker
	if shared != nil {
		own = (&Registry{shared.Registry}).nestedKey(shared.Name)
	}
	return envNested + "=" + strings.Join(append(nested(), own), ":")
}
