package typecheck

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"sync"
	"time"
)

// sum is a content hash.
type sum = [sha256.Size]byte

// attributes are what the system tells of a file or directory without a look into it.
type attributes struct {
	size     int64
	modified time.Time // may be set to anything, as touch, tar and cp -p do
	inode    uint64    // 0 if the system has none
	changed  time.Time // of content or attributes, which nobody can set; zero if the system does not tell
}

func attributesOf(info fs.FileInfo) attributes {
	a := attributes{size: info.Size(), modified: info.ModTime()}
	a.inode, a.changed = identity(info)
	return a
}

// same reports whether nothing shows between two looks.
func (a attributes) same(b attributes) bool {
	return a.size == b.size && a.modified.Equal(b.modified) && a.inode == b.inode && a.changed.Equal(b.changed)
}

// last returns when the file was written last, as far as the system tells.
func (a attributes) last() time.Time {
	if a.changed.IsZero() {
		return a.modified
	}
	return a.changed
}

// stamp is what a look at a file's attributes told, and when.
type stamp struct {
	attributes
	seen time.Time
}

// proves reports whether a file that has these attributes now has the content that it had at the time of the stamp. It
// does not if the file had just been written then: another write within the granularity of the file system's clock would
// not show. Where the system has no change time, neither does a write after which size and time were restored.
func (s stamp) proves(now attributes) bool {
	granule := 20 * time.Millisecond
	if s.last().Nanosecond() == 0 {
		granule = 2 * time.Second
	}
	return s.same(now) && s.last().Add(granule).Before(s.seen)
}

// memo keeps what was computed from files, for as long as their attributes prove that it still holds. The zero value is
// ready, and may be used from several goroutines.
type memo[T any] struct {
	mu      sync.Mutex // guards entries
	entries map[string]memoEntry[T]
}

type memoEntry[T any] struct {
	stamp stamp
	value T
}

// get returns what compute makes of the file or directory at the path; key tells several such values apart. compute is
// given the value that was known before, or nil, and is called without a lock, also by several callers at once.
func (m *memo[T]) get(key, path string, compute func(known *T) (T, error)) (T, error) {
	now := time.Now()
	info, err := os.Stat(path)
	if err != nil {
		m.forget(key)
		var none T
		return none, err
	}
	attr := attributesOf(info)
	var known *T
	if entry, ok := m.load(key); ok {
		if entry.stamp.proves(attr) {
			return entry.value, nil
		}
		known = &entry.value
	}
	value, err := compute(known)
	if err != nil {
		m.forget(key)
		return value, err
	}
	m.keep(key, memoEntry[T]{stamp{attr, now}, value})
	return value, nil
}

func (m *memo[T]) load(key string) (memoEntry[T], bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry, ok := m.entries[key]
	return entry, ok
}

func (m *memo[T]) keep(key string, entry memoEntry[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil || len(m.entries) >= maxMemo {
		m.entries = make(map[string]memoEntry[T])
	}
	m.entries[key] = entry
}

func (m *memo[T]) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, key)
}

// maxMemo bounds the number of files in a memo, at some 250 bytes each; past it everything is looked at anew.
const maxMemo = 1 << 18
