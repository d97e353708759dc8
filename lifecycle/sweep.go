package lifecycle

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// sweepLimit bounds the work of one sweep. Where there are more directories, sweeps begin at random places, so that each
// leftover is found in time.
const sweepLimit = 64

// sweep removes the instances in root of which neither starter nor worker lives, kills the processes that still belong to
// them, and returns the ids of those that are gone.
func sweep(root string) (removed []string) {
	ids := candidates(root)
	dead := make(map[string]bool)
	var locks []*os.File
	for _, id := range ids {
		if id == Inside() {
			continue // this process is itself what is left of that instance
		}
		if lock, ok := lockExclusive(filepath.Join(root, id)); ok {
			dead[id] = true
			locks = append(locks, lock)
		}
	}
	if len(dead) > 0 {
		killMarked(dead)
	}
	for id := range dead {
		removeInstance(root, id)
		if _, err := os.Lstat(filepath.Join(root, id)); errors.Is(err, fs.ErrNotExist) {
			removed = append(removed, id)
		}
	}
	for _, lock := range locks {
		lock.Close()
	}
	return removed
}

// isAbandoned is whether neither starter nor worker cares for an instance directory that is there.
func isAbandoned(dir string) bool {
	lock, ok := lockExclusive(dir)
	if ok {
		lock.Close()
	}
	return ok
}

// candidates returns the names of at most sweepLimit instance directories.
func candidates(root string) []string {
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) == 0 {
		return nil
	}
	var ids []string
	first := 0
	if len(entries) > sweepLimit {
		first = rand.IntN(len(entries))
	}
	for i := range entries {
		entry := entries[(first+i)%len(entries)]
		if entry.IsDir() && isID(entry.Name()) && len(ids) < sweepLimit {
			ids = append(ids, entry.Name())
		}
	}
	return ids
}
