package lifecycle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/detached-workers/unref/internal/failpoint"
)

// Registry finds the shared workers of one runtime directory by name. It is a directory of small files: for each name one
// record, which only who has the name's [Claim] writes and which changes at one blow, and one lock file, which is never
// removed. It may be used by any number of goroutines and processes.
type Registry struct{ dir string }

const (
	registryName  = "names"
	recordVersion = 1
	recordSuffix  = ".json"
	lockSuffix    = ".lock"
	tempSuffix    = ".tmp"
)

// OpenRegistry opens the registry in a runtime directory, with the default of [RuntimeDir].
func OpenRegistry(runtimeDir string) (*Registry, error) {
	root, err := RuntimeDir(runtimeDir)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, registryName)
	return &Registry{dir}, makePrivate(dir)
}

// isRemoved is whether somebody has removed the registry. Who wants a claim makes it again; a worker that leaves need not.
func (r *Registry) isRemoved() bool {
	_, err := os.Lstat(r.dir)
	return errors.Is(err, fs.ErrNotExist)
}

// Record is what the registry has on one shared worker.
type Record struct {
	Address
	Version int `json:"version"`
	// SharedName is the name under which the worker is found.
	SharedName string `json:"name"`
	// Generation is one more than that of the record before, 1 if there was none.
	Generation  int         `json:"generation"`
	Program     string      `json:"program"`
	Started     time.Time   `json:"started"`
	Fingerprint Fingerprint `json:"fingerprint"`
	// Past are the workers that were replaced under this name, newest last.
	Past []Past `json:"past,omitempty"`

	Process identity `json:"process"`
	Stamp   stamp    `json:"stamp,omitzero"` // of the executable
}

// Past is a worker that was replaced.
type Past struct {
	Sum string    `json:"sum"` // of its fingerprint
	At  time.Time `json:"at"`  // when it was replaced
}

// Pid returns the worker's process id. It is only a number: see [Record.Open].
func (r *Record) Pid() int { return r.Process.Pid }

// ErrRecordVersion means that a record was written by a version of this package that this one does not understand.
var ErrRecordVersion = errors.New("the registry's record is of another version of unref")

// CheckSharedName refuses what cannot be the name of a shared worker: an empty name, more than 255 bytes, control
// characters, invalid UTF-8.
func CheckSharedName(name string) error {
	if name == "" {
		return fmt.Errorf("a shared worker needs a name: %w", fs.ErrInvalid)
	}
	return checkName(name)
}

// key is the base name of a name's files: names may hold anything and be long.
func key(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

func (r *Registry) path(name, suffix string) string {
	return filepath.Join(r.dir, key(name)+suffix)
}

// Lookup returns the record of a name, nil if there is none. A record says nothing of whether its worker lives.
func (r *Registry) Lookup(name string) (*Record, error) {
	rec, err := readRecord(r.path(name, recordSuffix))
	if rec != nil && rec.SharedName != name {
		return nil, nil
	}
	return rec, err
}

func readRecord(path string) (*Record, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the registry: %w", err)
	}
	// What every version of a record has.
	var common struct {
		Version int    `json:"version"`
		Dir     string `json:"dir"`
	}
	rec := new(Record)
	if json.Unmarshal(data, &common) != nil || common.Version == 0 {
		return nil, nil // as good as none: the next one replaces it
	}
	if rec.Version = common.Version; common.Version == recordVersion {
		if json.Unmarshal(data, rec) != nil {
			return nil, nil
		}
	}
	if rec.Version != recordVersion {
		if isGone(common.Dir) {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: %s has version %d, this program knows %d", ErrRecordVersion, path, rec.Version, recordVersion)
	}
	return rec, nil
}

// Records returns all records, in no order. What cannot be read is left out.
func (r *Registry) Records() ([]*Record, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("read the registry: %w", err)
	}
	var list []*Record
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), recordSuffix) {
			continue
		}
		if rec, err := readRecord(filepath.Join(r.dir, entry.Name())); err == nil && rec != nil {
			list = append(list, rec)
		}
	}
	return list, nil
}

// Sweep removes the records of workers whose instance directory is gone, except those that somebody is working on, and
// returns their names.
func (r *Registry) Sweep() []string {
	records, _ := r.Records()
	var swept []string
	for _, rec := range records {
		if !rec.isLeftOver() {
			continue
		}
		claim, err := r.TryClaim(rec.SharedName)
		if err != nil || claim == nil {
			continue
		}
		if claim.Remove(rec.ID) == nil {
			swept = append(swept, rec.SharedName)
		}
		claim.Release()
	}
	return swept
}

// Restamp notes that the executable has been written without being changed, so that others need not read it again. It is
// for speed only: if the name is claimed, or anything else is the matter, nothing is noted.
func (r *Registry) Restamp(rec *Record, f *Fingerprint) {
	if rec.Stamp == f.stamp || f.stamp == (stamp{}) {
		return
	}
	claim, err := r.TryClaim(rec.SharedName)
	if err != nil || claim == nil {
		return
	}
	defer claim.Release()
	if now, err := claim.Record(); err == nil && now != nil && now.ID == rec.ID {
		now.Stamp = f.stamp
		_ = claim.Publish(now)
	}
}

const (
	// pastSpan is how long a worker that was replaced is remembered, and pastMax how many. It is so short that a person who
	// tries one setting and the other is not held up.
	pastSpan = time.Minute
	pastMax  = 32

	// freeReturns is how often within pastSpan a configuration may come back that was replaced before. From then on each
	// return waits, twice as long as the one before.
	freeReturns   = 2
	minContention = time.Second
	maxContention = 30 * time.Second
)

// Supersede returns the past for a record that takes the place of r.
func (r *Record) Supersede(now time.Time) []Past {
	past := append(r.recent(now), Past{Sum: r.Fingerprint.Sum(), At: now})
	return past[max(0, len(past)-pastMax):]
}

// recent returns what is remembered of the past. The clock may have been set back meanwhile.
func (r *Record) recent(now time.Time) []Past {
	var recent []Past
	for _, p := range r.Past {
		if age := now.Sub(p.At); age >= 0 && age < pastSpan {
			recent = append(recent, p)
		}
	}
	return recent
}

// Contention returns how long to wait before r's worker may be replaced by one with the fingerprint f: 0, unless the two
// have been replacing each other again and again. New configurations never wait.
func (r *Record) Contention(f *Fingerprint, now time.Time) time.Duration {
	recent := r.recent(now)
	current, wanted := r.Fingerprint.Sum(), f.Sum()
	seen := map[string]bool{}
	returns := 0
	for i, p := range recent {
		next := current
		if i+1 < len(recent) {
			next = recent[i+1].Sum
		}
		seen[p.Sum] = true
		if seen[next] && next != p.Sum { // the same again is a restart
			returns++
		}
	}
	if !seen[wanted] || wanted == current || returns < freeReturns {
		return 0
	}
	pause := min(minContention<<min(returns-freeReturns, 10), maxContention)
	return max(0, pause-now.Sub(recent[len(recent)-1].At))
}

func (r *Record) isLeftOver() bool {
	return isGone(r.Dir)
}

// isGone is whether there is no such instance directory any more, or nobody cares for it.
func isGone(dir string) bool {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return isAbandoned(dir)
}

// Claim is the exclusive right to start, replace and remove the worker of one name. It ends with Release, or with the
// process.
type Claim struct {
	registry *Registry
	name     string
	lock     *os.File
}

// TryClaim claims a name, or returns nil if somebody has claimed it: [Registry.Holder] tells who.
func (r *Registry) TryClaim(name string) (*Claim, error) {
	path := r.path(name, lockSuffix)
	for range claimTries {
		lock, err := openLock(path)
		if errors.Is(err, fs.ErrNotExist) { // the directory was removed
			if err = makePrivate(r.dir); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("claim the name %q: %w", name, err)
		}
		if !tryLock(lock) {
			lock.Close()
			return nil, nil
		}
		if isAt(lock, path) {
			claim := &Claim{r, name, lock}
			claim.sign()
			failpoint.Here(failpoint.Claimed)
			return claim, nil
		}
		lock.Close() // it was removed, by hand perhaps, and locks nothing
	}
	return nil, fmt.Errorf("claim the name %q: %s is removed again and again", name, path)
}

// claimTries bounds how often a lock file is opened that is gone when it is locked.
const claimTries = 100

func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}

// Holder is who claims a name, by what it says itself.
type Holder struct {
	Pid     int       `json:"pid"`
	Program string    `json:"program"`
	Since   time.Time `json:"since"`
}

// sign says in the lock file who holds it. Nothing depends on it, so that a full disk does not matter.
func (c *Claim) sign() {
	holder := Holder{Pid: os.Getpid(), Since: time.Now()}
	holder.Program, _ = os.Executable()
	data, _ := json.Marshal(holder) // always has a form
	if c.lock.Truncate(0) == nil {
		_, _ = c.lock.WriteAt(data, 0)
	}
}

// Holder returns who has claimed a name or did so last. It is meant for messages: nothing proves it.
func (r *Registry) Holder(name string) (Holder, bool) {
	var holder Holder
	data, err := os.ReadFile(r.path(name, lockSuffix))
	return holder, err == nil && json.Unmarshal(data, &holder) == nil
}

// Record returns the name's record, nil if there is none.
func (c *Claim) Record() (*Record, error) { return c.registry.Lookup(c.name) }

// Publish makes the record that of the name, at one blow.
func (c *Claim) Publish(rec *Record) error {
	if err := c.publish(rec); err != nil {
		return fmt.Errorf("publish the name %q: %w", c.name, err)
	}
	return nil
}

func (c *Claim) publish(rec *Record) error {
	rec.Version, rec.SharedName = recordVersion, c.name
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := makePrivate(c.registry.dir); err != nil {
		return err
	}
	temp := c.registry.path(c.name, tempSuffix)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		os.Remove(temp)
		return err
	}
	failpoint.Here(failpoint.Publishing)
	if err := os.Rename(temp, c.registry.path(c.name, recordSuffix)); err != nil {
		return err
	}
	failpoint.Here(failpoint.Published)
	return nil
}

// Remove removes the name's record if it is that of the instance with this id.
func (c *Claim) Remove(id string) error {
	rec, err := c.Record()
	if err != nil || rec == nil || rec.ID != id {
		return err
	}
	failpoint.Here(failpoint.Withdrawing)
	return os.Remove(c.registry.path(c.name, recordSuffix))
}

// Release gives the name back. Releasing it again is harmless.
func (c *Claim) Release() { c.lock.Close() }

// Lives is whether the recorded process lives, or may live: where that cannot be told it is true.
func (r *Record) Lives() bool {
	watch, err := watchIdentity(r.Process, 0)
	if err != nil {
		return !errors.Is(err, ErrOwnerGone)
	}
	defer watch.close()
	return watch.alive()
}
