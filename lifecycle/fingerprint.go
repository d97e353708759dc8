package lifecycle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Fingerprint is what makes one configuration of a shared worker differ from another. What is not in it (other variables
// of the environment, lifetimes, log level) is the affair of whoever starts the worker.
type Fingerprint struct {
	// Executable is "sha256:" and a hash of the program's bytes. Where the file lies and when it was written does not count.
	Executable string `json:"executable"`
	// Args are the base name by which the program is called and the arguments.
	Args []string `json:"args"`
	// Env are the chosen variables in order, "NAME=value" each, or "NAME" for one that is not set.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory, "" if [Command.Dir] says none.
	Dir string `json:"dir,omitempty"`
	// Limits are [Command.Limits].
	Limits Limits `json:"limits,omitzero"`
	// Config is [Command.Config] as JSON, nil if there is none.
	Config json.RawMessage `json:"config,omitempty"`

	stamp stamp // of the executable when it was hashed
}

// Difference is one field in which two fingerprints differ, with both values in a form to be read.
type Difference struct {
	Field string `json:"field"` // "executable", "args", "env NAME", "dir", "limits" or "config"
	Was   string `json:"was"`
	Is    string `json:"is"`
}

// String says it in words.
func (d Difference) String() string { return fmt.Sprintf("%s was %s and is %s", d.Field, d.Was, d.Is) }

// Sum returns a short name of the fingerprint, 12 hexadecimal digits.
func (f *Fingerprint) Sum() string {
	data, _ := json.Marshal(f) // strings and valid JSON always have a form
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}

// Diff returns the fields in which other differs, none if it is the same.
func (f *Fingerprint) Diff(other *Fingerprint) []Difference {
	var diff []Difference
	add := func(field, was, is string) {
		was, is = shown(was, is)
		diff = append(diff, Difference{field, was, is})
	}
	if f.Executable != other.Executable {
		add("executable", f.Executable, other.Executable)
	}
	if !slices.Equal(f.Args, other.Args) {
		add("args", fmt.Sprintf("%q", f.Args), fmt.Sprintf("%q", other.Args))
	}
	was, is := variables(f.Env), variables(other.Env)
	for _, name := range names(was, is) {
		if was[name] != is[name] {
			add("env "+name, cmp.Or(was[name], "not set"), cmp.Or(is[name], "not set"))
		}
	}
	if f.Dir != other.Dir {
		add("dir", fmt.Sprintf("%q", f.Dir), fmt.Sprintf("%q", other.Dir))
	}
	if f.Limits != other.Limits {
		add("limits", f.Limits.String(), other.Limits.String())
	}
	if !bytes.Equal(f.Config, other.Config) {
		add("config", cmp.Or(string(f.Config), "none"), cmp.Or(string(other.Config), "none"))
	}
	return diff
}

const maxShown = 200 // bytes of a value

// shown cuts two values to what can be read, around the first place where they differ.
func shown(a, b string) (string, string) {
	if len(a) <= maxShown && len(b) <= maxShown {
		return a, b
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := max(0, same-maxShown/4)
	return window(a, from), window(b, from)
}

func window(s string, from int) string {
	text := strings.ToValidUTF8(s[from:min(len(s), from+maxShown)], "")
	if from > 0 {
		text = "..." + text
	}
	if len(s) > from+maxShown {
		text += "..."
	}
	return text
}

// variables maps names to quoted values; what is not set is not in it or empty.
func variables(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, kv := range env {
		if name, value, set := strings.Cut(kv, "="); set {
			m[name] = fmt.Sprintf("%q", value)
		}
	}
	return m
}

func names(maps ...map[string]string) []string {
	var list []string
	for _, m := range maps {
		for name := range m {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Fingerprint returns the fingerprint of what the command describes. known may be nil; the executable is not read again if
// it is the very file that known's worker was started from.
func (c *Command) Fingerprint(known *Record) (*Fingerprint, error) {
	cmd, err := c.command()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.label(), err)
	}
	f := &Fingerprint{
		Args: allAsText(append([]string{filepath.Base(c.argv0())}, c.Args...)),
		Env:  allAsText(chosen(cmd.Env, c.FingerprintEnv)), Limits: c.Limits.whole(),
	}
	if c.Dir != "" {
		if f.Dir, err = filepath.Abs(c.Dir); err != nil {
			return nil, err
		}
		f.Dir = asText(f.Dir)
	}
	if f.Config, err = c.config(); err != nil {
		return nil, err
	}
	if now := stampPath(cmd.Path); known != nil && now == known.Stamp && now != (stamp{}) {
		f.Executable, f.stamp = known.Fingerprint.Executable, now
		return f, nil
	}
	f.Executable, f.stamp, err = hashFile(cmd.Path)
	return f, err
}

// asText returns what is not valid UTF-8, and which the registry could not keep as it is, in quotes. Of a variable the name
// is left as it is.
func asText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if name, value, isVariable := strings.Cut(s, "="); isVariable && utf8.ValidString(name) {
		return name + "=" + strconv.Quote(value)
	}
	return strconv.Quote(s)
}

func allAsText(list []string) []string {
	for i, s := range list {
		list[i] = asText(s)
	}
	return list
}

// chosen picks the named variables. Of several values of one name the last counts, as in os/exec.
func chosen(env, names []string) []string {
	var list []string
	for _, name := range names {
		kv := name
		for _, candidate := range env {
			if strings.HasPrefix(candidate, name+"=") {
				kv = candidate
			}
		}
		list = append(list, kv)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (c *Command) config() (json.RawMessage, error) {
	if c.Config == nil {
		return nil, nil
	}
	config, err := json.Marshal(c.Config)
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	return config, nil
}

// stamp tells whether a file has been written since its bytes were hashed, without reading it again. The zero stamp fits
// none.
type stamp struct {
	fileID
	Size   int64 `json:"size"`
	Mtime  int64 `json:"mtime"` // both in nanoseconds
	Change int64 `json:"ctime"`
}

// How old the last change of a file has to be for its stamp to tell. Clocks of file systems are coarse: a file that is written
// twice within one tick has the same stamp both times. Those that show more than milliseconds tick with the kernel, every
// 10 ms at least; others may tick every two seconds.
const (
	settledFine   = 50 * time.Millisecond
	settledCoarse = 3 * time.Second
)

// settled is whether the file was last changed long enough before.
func (s stamp) settled(before time.Time) bool {
	last := max(s.Mtime, s.Change)
	age := settledCoarse
	if last%int64(time.Millisecond) != 0 {
		age = settledFine
	}
	return before.Sub(time.Unix(0, last)) >= age
}

// hashFile returns "sha256:" and a hash of the file, and its stamp, which is zero while it tells nothing.
func hashFile(path string) (string, stamp, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", stamp{}, err
	}
	defer f.Close()
	before, began := stampOf(f), time.Now()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", stamp{}, err
	}
	if before != stampOf(f) || !before.settled(began) {
		before = stamp{}
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), before, nil
}
