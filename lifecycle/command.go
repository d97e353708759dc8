package lifecycle

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Errors of [Command.Start] that a caller may want to tell apart. Failures of the program itself wrap
// [exec.ErrNotFound], [fs.ErrNotExist] or [fs.ErrPermission]; what no program can be given wraps [fs.ErrInvalid].
var (
	// ErrNotServing means that a worker tried to start its own program before it called [Worker.Serving]. Such a program
	// would start itself again and again.
	ErrNotServing = errors.New("this process is a worker that does not serve yet, and starts its own program")
	// ErrOwnerGone means that the owner named in [Command] has died.
	ErrOwnerGone = errors.New("the owner is gone")
	// ErrPathTooLong means that neither the runtime directory nor the short fallback can hold a socket.
	ErrPathTooLong = errors.New("socket path too long")
)

const (
	defaultGrace        = 2 * time.Second
	defaultStartTimeout = 30 * time.Second

	sharedIdleTimeout   = 10 * time.Minute
	defaultDrainTimeout = 10 * time.Minute
)

// Command describes how to start a worker. It is a reusable description and not a running thing: Start copies it, so
// that changing it afterwards has no effect on what was started. It must not be changed while Start runs.
type Command struct {
	// Name is the worker's name. Empty means the base name of Path without ".exe". It is at most 255 bytes of valid UTF-8
	// without control characters; Start refuses any other before it starts anything.
	Name string
	// Path is the program. Without a path separator it is looked up in this process's PATH; a relative path with one
	// is relative to this process's directory, not to Dir.
	Path string
	// Args are the arguments, without the program's name. As in Path, Env and Dir, a NUL byte in them is refused.
	Args []string
	// Env is the environment. Nil means this process's environment. Variables that this package uses itself
	// (UNREF_INSTANCE, UNREF_WORKER, UNREF_NESTED) are replaced.
	Env []string
	// Dir is the working directory. Empty means this process's.
	Dir string
	// Build is the build identity that the worker must have, as [BuildID] gives it. Empty means any. It is carried
	// to the worker; the handshake checks it.
	Build string
	// Owner is the process whose death ends the worker. Zero means the process that calls Start, and for a shared worker
	// (see [Claim.Start]) nobody.
	Owner Owner
	// IdleTimeout is how long the worker stays without a client; a client that is connected counts, whether it makes calls
	// or not. Zero means for ever, and for a shared worker 10 minutes; negative means for ever. It is carried to the
	// worker, which enforces it.
	IdleTimeout time.Duration
	// MaxLifetime is how long the worker lives at most; a shared one then takes no new clients and has DrainTimeout for
	// those it has. Zero and negative mean for ever. It is carried to the worker, which enforces it.
	MaxLifetime time.Duration
	// DrainTimeout is how long a shared worker that has been replaced, or whose MaxLifetime is over, goes on serving the
	// clients it has. Zero means 10 minutes; negative means not at all: calls in flight have the Grace.
	DrainTimeout time.Duration
	// StartTimeout is the time from Start to ready. Zero means 30 s, negative means no limit. Start itself does not
	// wait for readiness; whoever does applies it (see StartLimit).
	StartTimeout time.Duration
	// Grace bounds the teardown after the owner died or an exit was asked for. Zero means 2 s, negative means none:
	// the worker exits at once and its drain function is not run.
	Grace time.Duration
	// Limits bound what the worker's process may use. Zero means that it inherits what its starter may use.
	Limits Limits
	// RuntimeDir is the directory for instance directories. Empty means the default of [RuntimeDir].
	RuntimeDir string
	// LogLevel is the level from which on the worker's loggers write, by its name in logrus ("debug", "info", ...). Empty
	// means that of the client's logger; a name that there is not means the worker's default.
	LogLevel string
	// Config is carried to the worker as JSON, see [Worker.DecodeConfig]. Nil means none.
	Config any
	// FingerprintEnv names variables of the environment that are part of a shared worker's [Fingerprint]: one that has
	// another value needs another worker. Differences are shown in messages, values included. Nil means none.
	FingerprintEnv []string

	self   bool   // set by Self
	runDir string // the working directory if Dir is empty; not a part of the fingerprint
}

// Self describes the running executable, started again as the worker with this name. On Linux it is the very file that
// runs now, even if it has been replaced or deleted meanwhile.
func Self(name string) *Command {
	return &Command{Name: name, Path: selfPath(), self: true}
}

// Validate returns why the command can't be meant, with all faults that it has, as far as that can be known without looking
// at the file system: Start would refuse it. The errors wrap [fs.ErrInvalid], [exec.ErrNotFound] for a command without a path,
// or [errors.ErrUnsupported] for limits that this system does not have.
func (c *Command) Validate() error {
	var path error
	if c.Path == "" {
		path = errNoPath
	}
	return errors.Join(path, c.checkNUL(), checkName(c.name()), c.Limits.check())
}

var errNoPath = fmt.Errorf("the command has no path: %w", exec.ErrNotFound)

// StartLimit returns StartTimeout with the default applied; zero means no limit.
func (c *Command) StartLimit() time.Duration {
	switch {
	case c.StartTimeout < 0:
		return 0
	case c.StartTimeout == 0:
		return defaultStartTimeout
	}
	return c.StartTimeout
}

func (c *Command) grace() time.Duration {
	if c.Grace == 0 {
		return defaultGrace
	}
	return max(c.Grace, -1)
}

func (c *Command) name() string {
	if c.Name != "" {
		return c.Name
	}
	return strings.TrimSuffix(filepath.Base(c.Path), ".exe")
}

func (c *Command) argv0() string {
	if c.self {
		return c.name()
	}
	return c.Path
}

// command checks everything about the program that can be checked without starting it.
func (c *Command) command() (*exec.Cmd, error) {
	if err := c.checkNUL(); err != nil {
		return nil, err
	}
	if err := checkName(c.name()); err != nil {
		return nil, err
	}
	if err := c.Limits.check(); err != nil {
		return nil, err
	}
	path, err := lookPath(c.Path)
	if err != nil {
		return nil, err
	}
	if err := checkDir(c.Dir); err != nil {
		return nil, err
	}
	// The worker outlives every context of its starter, hence no CommandContext.
	cmd := exec.Command(path) //nolint:noctx // see above
	cmd.Path = path
	cmd.Args = append([]string{c.argv0()}, c.Args...)
	cmd.Dir = cmp.Or(c.Dir, c.runDir)
	cmd.Env = c.Env
	cmd.Env = slices.DeleteFunc(cmd.Environ(), ownVariable)
	return cmd, nil
}

const maxName = 255 // bytes

// checkName refuses names that logs, messages and the handshake can't carry as they are.
func checkName(name string) error {
	why := ""
	switch {
	case len(name) > maxName:
		why = fmt.Sprintf("is %d bytes long, more than %d", len(name), maxName)
	case !utf8.ValidString(name):
		why = "is not valid UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		why = "has a control character"
	default:
		return nil
	}
	return fmt.Errorf("worker name %.40q %s: %w", name, why, fs.ErrInvalid)
}

// checkNUL refuses what no system call can be given. Of os/exec's own checks one names no field and the other is lost. It
// does not show arguments and variables, which may be secret.
func (c *Command) checkNUL() error {
	has := func(s string) bool { return strings.IndexByte(s, 0) >= 0 }
	field := ""
	switch arg, kv := slices.IndexFunc(c.Args, has), slices.IndexFunc(c.Env, has); {
	case has(c.Path):
		field = "Path"
	case has(c.Dir):
		field = fmt.Sprintf("Dir %q", c.Dir)
	case arg >= 0:
		field = fmt.Sprintf("Args[%d]", arg)
	case kv >= 0:
		name, _, _ := strings.Cut(c.Env[kv], "=")
		field = fmt.Sprintf("Env[%d] (variable %.40q)", kv, name)
	default:
		return nil
	}
	return fmt.Errorf("%s has a NUL byte: %w", field, fs.ErrInvalid)
}

func ownVariable(kv string) bool {
	return strings.HasPrefix(kv, envInstance+"=") || strings.HasPrefix(kv, envWorker+"=") || strings.HasPrefix(kv, envNested+"=")
}

func lookPath(file string) (string, error) {
	if file == "" {
		return "", errNoPath
	}
	path, err := exec.LookPath(file)
	if err == nil {
		return filepath.Abs(path)
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if errors.Is(err, syscall.EISDIR) {
		err = fmt.Errorf("is a directory: %w", fs.ErrPermission)
	}
	return "", err
}

func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("working directory %s: %w", dir, syscall.ENOTDIR)
	}
	return nil
}

func selfPath() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
