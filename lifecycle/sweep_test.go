//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// LESSONS 14
func TestTheSweeperTakesLeftoversAndNothingElse(t *testing.T) {
	root := shortTemp(t)
	outside := shortTemp(t)
	os.WriteFile(outside+"/precious", nil, 0o600)
	stale := filepath.Join(root, "0123456789abcdef")
	os.Mkdir(stale, 0o700)
	os.WriteFile(stale+"/launch", nil, 0o600)
	os.Symlink(outside, stale+"/s")
	os.Symlink(outside, filepath.Join(root, "fedcba9876543210"))
	os.Mkdir(filepath.Join(root, "registry"), 0o700)
	alive, err := newInstance(root)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.remove()
	sweep(root)
	for path, want := range map[string]bool{
		stale: false, alive.dir: true, root + "/registry": true, root + "/fedcba9876543210": true, outside + "/precious": true,
	} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: got %v, want it to be there: %v", path, err, want)
		}
	}
}

func TestManyLeftoversAreSweptInTime(t *testing.T) {
	root := shortTemp(t)
	for range 3 * sweepLimit {
		os.Mkdir(filepath.Join(root, newID()), 0o700)
	}
	for range 1000 {
		sweep(root)
	}
	if left := candidates(root); len(left) > 0 {
		t.Errorf("left: %d", len(left))
	}
}

// LESSONS 16
func TestASweeperNeverTakesAnInstanceThatIsBeingMade(t *testing.T) {
	root := shortTemp(t)
	var creators, sweepers sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		sweepers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					sweep(root)
				}
			}
		})
		creators.Go(func() {
			for range 300 {
				in, err := newInstance(root)
				if err != nil {
					t.Error(err)
					return
				}
				if err := (&launch{Version: launchVersion}).write(in.dir); err != nil {
					t.Errorf("a new instance was swept: %v", err)
				}
				in.remove()
			}
		})
	}
	creators.Wait()
	close(over)
	sweepers.Wait()
}
