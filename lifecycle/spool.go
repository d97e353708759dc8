package lifecycle

import (
	"context"
	"os"
	"sync"
	"time"
)

// The spool's real size stays at about spoolMax: when there is more, all but the newest spoolKeep is dropped, in steps of
// spoolAlign, which is a multiple of every block size, huge pages included.
const (
	spoolMax   = 8 << 20
	spoolKeep  = 4 << 20
	spoolAlign = 2 << 20
)

// spoolSizeLimit is the logical size at which a spool begins again at 0.
const spoolSizeLimit = 1 << 40

// spool is the worker's end of its output. Everybody below the worker writes to it through descriptors 1 and 2, so it is
// bounded from the worker's first act, whether anybody watches it or not.
type spool struct {
	file   *os.File
	limit  int64  // logical size at which to truncate
	wait   func() // for growth
	forget func() // stops watching for growth, before the end

	dropped int64 // up to where output was dropped; used by tend only

	mu       sync.Mutex // protects watchers
	watchers map[chan struct{}]bool
}

// newSpool begins to watch the file, and calls changed when something was removed from one of the directories or moved into
// it, where the system tells.
func newSpool(file *os.File, dirs []string, changed func()) *spool {
	wait, forget := growth(file, dirs, changed)
	return &spool{file: file, limit: fileSizeLimit(), wait: wait, forget: forget, watchers: make(map[chan struct{}]bool)}
}

// tend bounds the spool and tells the watchers, whenever the spool grew, for the rest of the process's life.
func (s *spool) tend() {
	for {
		s.bound()
		s.tell()
		s.wait()
	}
}

func (s *spool) bound() {
	info, err := s.file.Stat()
	if err != nil {
		return
	}
	size := info.Size()
	if size < s.dropped { // somebody truncated it: "> /dev/stderr" does
		s.dropped = 0
	}
	switch to := (size - spoolKeep) / spoolAlign * spoolAlign; {
	case size > s.limit || size > s.dropped && noSpace(s.file):
		s.restart()
	case size-s.dropped <= spoolMax:
	case dropOutput(s.file, s.dropped, to) == nil:
		s.dropped = to
	default:
		s.restart()
	}
}

// restart drops everything. Writers append, so they go on at 0.
func (s *spool) restart() {
	if s.file.Truncate(0) == nil {
		s.dropped = 0
	}
}

func (s *spool) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for grew := range s.watchers {
		select {
		case grew <- struct{}{}:
		default: // it knows already
		}
	}
}

// watch calls grew at once, for what was written before, and whenever the spool grew, until ctx ends.
func (s *spool) watch(ctx context.Context, grew func()) error {
	told := make(chan struct{}, 1) // tell sends; nobody closes it
	told <- struct{}{}
	s.add(told)
	defer s.remove(told)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-told:
			grew()
		}
	}
}

func (s *spool) add(told chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[told] = true
}

func (s *spool) remove(told chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, told)
}

// growthByPolling returns a function that waits until the file's size has changed since it returned last.
func growthByPolling(f *os.File, every time.Duration, looked func()) (wait func()) {
	last := int64(-1)
	return func() {
		for {
			if info, err := f.Stat(); err == nil && info.Size() != last {
				last = info.Size()
				return
			}
			time.Sleep(every)
			looked()
		}
	}
}

// spoolSource reads a spool.
type spoolSource struct {
	file *os.File
}

func (s spoolSource) ReadAt(p []byte, off int64) (int, error) { return s.file.ReadAt(p, off) }

func (s spoolSource) Size() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (s spoolSource) Data(off int64) int64 { return nextData(s.file, off) }
