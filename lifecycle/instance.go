package lifecycle

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// instance is the private directory of one worker. A shared lock on it says that somebody is alive who cares for it: the
// starter holds one until the worker is reaped, the worker holds one from its first act to its end. Who gets the
// exclusive lock knows that both have gone, and may remove it.
type instance struct {
	root, id, dir string
	runtimeDir    string // that was asked for; root may be the short one
	lock          *os.File
}

const instanceTries = 10

func newInstance(root string) (*instance, error) {
	for range instanceTries {
		in, err := tryInstance(root)
		if err == nil {
			return in, nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, errSwept) {
			return nil, fmt.Errorf("create instance directory: %w", err)
		}
	}
	return nil, fmt.Errorf("create instance directory: none of %d survived in %s", instanceTries, root)
}

// errSwept means that a sweeper took a new directory for a leftover before it was locked.
var errSwept = errors.New("instance directory was removed")

func tryInstance(root string) (*instance, error) {
	id := newID()
	in := &instance{root: root, id: id, dir: filepath.Join(root, id)}
	if err := os.Mkdir(in.dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockShared(in.dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errLocked) {
			return nil, errSwept
		}
		os.Remove(in.dir)
		return nil, err
	}
	in.lock = lock
	return in, nil
}

func newID() string {
	id := make([]byte, idLength/2)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func isID(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == idLength/2 && hex.EncodeToString(b) == name
}

// remove removes the directory and lets it go.
func (in *instance) remove() {
	removeInstance(in.root, in.id)
	in.lock.Close()
}

// cleanUp removes what the worker left behind after it has been reaped, and returns whether there was anything. A worker
// removes its directory last of all, so where there is none there is nothing else.
func (in *instance) cleanUp() bool {
	_, err := os.Lstat(in.dir)
	if err == nil {
		killMarked(map[string]bool{in.id: true})
	}
	in.remove()
	return err == nil
}

// removeInstance removes one instance directory with all that is in it, and follows no link. The caller knows that the
// directory is its own or that nobody's.
func removeInstance(root, id string) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return
	}
	defer dir.Close()
	_ = dir.RemoveAll(id) // what cannot be removed now is left for the next sweep
}
