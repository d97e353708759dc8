//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ulc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// LESSONS 22
func TestTheRuntimeDirectoryDoesNotFollowTMPDIR(t *testing.T) {
	base := shortTemp(t)
	t.Setenv("TMPDIR", base+"/tmp")
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv(envRuntimeDir, "")
	if got := defaultDir(); got != shortDir() || !strings.HasPrefix(got, "/tmp/unref-") {
		t.Errorf("got %s", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", base)
	if got, err := RuntimeDir(""); got != base+"/unref" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	os.Chmod(base, 0o722)
	if got := defaultDir(); got != shortDir() {
		t.Errorf("with a directory that others can write to: got %s", got)
	}
	os.Chmod(base, 0o700)
	t.Setenv(envRuntimeDir, base+"/own")
	if got, err := RuntimeDir(""); got != base+"/own" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	t.Chdir(base)
	if got, err := RuntimeDir("relative/deep"); !filepath.IsAbs(got) || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// LESSONS 23
func TestARuntimeDirectoryThatOthersCouldReachIsRefused(t *testing.T) {
	base := shortTemp(t)
	os.Mkdir(base+"/open", 0o700)
	os.Chmod(base+"/open", 0o750)
	os.Mkdir(base+"/private", 0o700)
	os.Symlink(base+"/private", base+"/link")
	os.WriteFile(base+"/file", nil, 0o600)
	for path, want := range map[string]string{"open": "is open to others (mode 0750)", "link": "is a symbolic link", "file": "is not a directory"} {
		_, err := RuntimeDir(filepath.Join(base, path))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "chmod 700") {
			t.Errorf("%s: got %v", path, err)
		}
		c := &Command{Path: "sleep", Args: []string{"1000"}, RuntimeDir: filepath.Join(base, path)}
		if p, err := c.Start(t.Context()); err == nil {
			p.Kill()
			t.Errorf("%s: started", path)
		}
	}
	if os.Geteuid() == 0 {
		os.Mkdir(base+"/foreign", 0o700)
		os.Chown(base+"/foreign", 12345, 0)
		if _, err := RuntimeDir(base + "/foreign"); err == nil || !strings.Contains(err.Error(), "uid 12345") {
			t.Errorf("got %v", err)
		}
	}
}

// LESSONS 4
func TestASocketPathThatIsTooLongGoesToTheFallback(t *testing.T) {
	base := shortTemp(t)
	defer func(old func() string) { fallbackDir = old }(fallbackDir)
	fallbackDir = func() string { return base + "/short" }
	exact := base + "/" + strings.Repeat("x", maxSocketPath-socketPathLength(base)-1)
	for path, want := range map[string]string{exact: exact, exact + "x": base + "/short"} {
		if _, got, err := instanceRoot(path); got != want || err != nil {
			t.Errorf("path of %d: got %s, %v", len(path), got, err)
		}
	}
	os.Chmod(base+"/short", 0o777)
	_, _, err := instanceRoot(exact + "x")
	if !errors.Is(err, ErrPathTooLong) || !strings.Contains(err.Error(), "108") || !strings.Contains(err.Error(), "107") && maxSocketPath == 107 {
		t.Errorf("got %v", err)
	}
	fallbackDir = func() string { return exact + "xx" }
	if _, _, err := instanceRoot(exact + "x"); !errors.Is(err, ErrPathTooLong) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyIdsAreTakenForInstances(t *testing.T) {
	if id := newID(); !isID(id) {
		t.Errorf("%s is none", id)
	}
	for _, name := range []string{"", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg", "../../../../tmp/"} {
		if isID(name) {
			t.Errorf("%q is one", name)
		}
	}
}
