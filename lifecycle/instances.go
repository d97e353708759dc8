package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Instance is a worker as its directory describes it, started by any program of this user.
type Instance struct {
	Address
	Program string
	// SharedName is the name under which clients find the worker, empty if it is its starter's alone.
	SharedName string
	// Record is what the registry has on it, nil if it names another worker or none.
	Record *Record
	// Owner is the pid of the process whose death ends the worker, 0 if there is none.
	Owner   int
	Created time.Time
	// Alive is whether somebody cares for the directory: the worker, or its starter.
	Alive bool

	runtimeDir string // in which the worker was to be
}

// DisplayName returns the name under which the worker is shared, or else its own.
func (i *Instance) DisplayName() string {
	if i.SharedName != "" {
		return i.SharedName
	}
	return i.Name
}

// Instances returns the workers in a runtime directory (with the default of [RuntimeDir]) and in the short one that is used
// when its path is too long, in no order. Directories that are just being made or removed are left out.
func Instances(runtimeDir string) ([]*Instance, error) {
	roots, err := roots(runtimeDir)
	if err != nil {
		return nil, err
	}
	root := roots[0]
	var list []*Instance
	for _, at := range roots {
		entries, err := os.ReadDir(at)
		if err != nil {
			return nil, fmt.Errorf("read the runtime directory: %w", err)
		}
		for _, entry := range entries {
			if i := readInstance(at, entry); i != nil && i.runtimeDir == root {
				list = append(list, i)
			}
		}
	}
	return list, nil
}

// roots returns the runtime directory and, if its path is too long for sockets, the short one.
func roots(runtimeDir string) ([]string, error) {
	root, err := RuntimeDir(runtimeDir)
	if err != nil {
		return nil, err
	}
	if short := fallbackDir(); short != root && socketPathLength(root) > maxSocketPath && checkOwned(short, 0o077) == nil {
		return []string{root, short}, nil
	}
	return []string{root}, nil
}

func readInstance(root string, entry fs.DirEntry) *Instance {
	dir := filepath.Join(root, entry.Name())
	if !entry.IsDir() || !isID(entry.Name()) {
		return nil
	}
	l, err := readLaunch(dir)
	if err != nil {
		return nil
	}
	i := &Instance{
		Address: Address{Name: l.Name, ID: entry.Name(), Dir: dir, Secret: l.Secret},
		Program: string(l.Program), SharedName: l.sharedName(), Owner: l.Owner.Pid, Alive: !isAbandoned(dir),
		runtimeDir: string(l.RuntimeDir),
	}
	if info, err := os.Lstat(filepath.Join(dir, launchName)); err == nil {
		i.Created = info.ModTime()
	}
	if l.Shared != nil {
		if rec, err := (&Registry{l.Shared.Registry}).Lookup(l.Shared.Name); err == nil && rec != nil && rec.ID == i.ID {
			i.Record = rec
		}
	}
	return i
}

// ErrNotShared means that a worker is its starter's alone.
var ErrNotShared = errors.New("the worker is not shared")

// Command returns the description with which a shared worker was started. The environment is the one that it was started in.
// It is [ErrNotShared] for any other worker, which only its starter knows how to start.
func (a *Address) Command() (*Command, error) {
	l, err := readLaunch(a.Dir)
	if err != nil {
		return nil, err
	}
	if l.Shared == nil {
		return nil, fmt.Errorf("worker %s: %w", l.Name, ErrNotShared)
	}
	c := &Command{
		Name: l.Name, Path: string(l.Program), Args: plainTexts(l.Shared.Args[min(1, len(l.Shared.Args)):]), Env: plainTexts(l.Shared.Env),
		Dir:   string(l.Shared.Dir),
		Build: l.Build, IdleTimeout: orForever(l.IdleTimeout), MaxLifetime: l.MaxLifetime,
		DrainTimeout: orForever(l.Shared.DrainTimeout), StartTimeout: l.Shared.StartTimeout, Grace: l.Grace,
		RuntimeDir: filepath.Dir(l.Shared.Registry), LogLevel: l.LogLevel, Limits: l.Limits, FingerprintEnv: l.Shared.FingerprintEnv, self: l.Self,
		runDir: string(l.Shared.StarterDir),
	}
	if l.Owner.Pid != 0 {
		c.Owner = Owner{id: l.Owner}
	}
	if len(l.Config) > 0 {
		c.Config = json.RawMessage(l.Config)
	}
	return c, nil
}

// orForever turns a duration as it is in the launch file, where 0 means none, into one as it is in a Command.
func orForever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// Sweep removes what workers of any program have left behind in a runtime directory, with the default of [RuntimeDir]: the
// directories of instances that nobody cares for, processes that still belong to them, and records of workers that are
// gone. It returns the ids and names of what it removed.
func Sweep(runtimeDir string) (removed []string, err error) {
	roots, err := roots(runtimeDir)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		removed = append(removed, sweep(root)...)
	}
	registry, err := OpenRegistry(runtimeDir)
	if err != nil {
		return removed, err
	}
	return append(removed, registry.Sweep()...), nil
}

// Process returns the worker's process, whether the worker answers or not, for a signal say. It is an error if it is not
// known which process that is.
func (i *Instance) Process() (*Process, error) {
	if i.Record != nil {
		return i.Record.Open(nil), nil
	}
	pid, err := findWorker(i.ID)
	if err != nil {
		return nil, err
	}
	return OpenProcess(i.Address, pid, nil), nil
}
