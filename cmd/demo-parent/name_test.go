package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/detached-workers/unref/lifecycle"
)

func TestEveryModuleHasWorkersOfItsOwn(t *testing.T) {
	for _, module := range []string{"/m", "/m #1", "/m/n", "/" + strings.Repeat("long/", 100), "/with\na newline", "/\xff"} {
		group := groupName(module)
		for _, number := range []int{1, 10, 100} {
			name := slotName(group, number)
			if err := lifecycle.CheckSharedName(name); err != nil {
				t.Errorf("%q: %v", module, err)
			}
			if got := groupOf(name); got != group {
				t.Errorf("%q: the group of %q is %q, want %q", module, name, got, group)
			}
		}
	}
	if groupName("/m") == groupName("/m #1") || groupName(strings.Repeat("a", 300)) == groupName(strings.Repeat("a", 301)) {
		t.Error("two modules have one name")
	}
}

func TestWorkersOfOthersAreNoneOfOurs(t *testing.T) {
	for _, name := range []string{"", "demo-worker", "demo-parent tour 1", "demo-parent check /m", "demo-parent check /m #x", "other #1"} {
		if group := groupOf(name); group != "" {
			t.Errorf("%q was taken for a worker of %q", name, group)
		}
	}
}

func TestAllDirectoriesOfAModuleHaveTheSameWorkers(t *testing.T) {
	dir := chain(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip("no symbolic links: ", err)
	}
	for _, from := range []string{dir, filepath.Join(dir, "a"), link, filepath.Join(link, "b")} {
		if got := moduleDir(from); got != dir {
			t.Errorf("the module of %s is %s, want %s", from, got, dir)
		}
	}
	outside := filepath.Dir(dir)
	if got := moduleDir(outside); got != outside {
		t.Errorf("outside of modules it is %s, want %s", got, outside)
	}
}
