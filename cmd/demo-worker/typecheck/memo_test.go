package typecheck

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAChangeShowsAlthoughSizeAndTimeWereRestored(t *testing.T) {
	t.Parallel()
	p := warm(t, chain)
	if attributesOf(p.stat("a/a.go")).changed.IsZero() {
		t.Skip("this system does not tell when a file was changed")
	}
	before := p.stat("a/a.go")
	p.edit("a/a.go", "return 1", "return x")
	p.touch("a/a.go", before.ModTime())
	if after := p.stat("a/a.go"); after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		t.Fatal("size and time were to be the same")
	}
	if o := p.check(); len(o.diagnostics) != 1 {
		t.Errorf("got the diagnostics %q, want one", o.diagnostics)
	}
}

func TestAStampProvesNothingOfAnotherFileOrALaterChange(t *testing.T) {
	t.Parallel()
	old, now := time.Unix(1000, 1), time.Unix(2000, 0)
	was := attributes{size: 1, modified: old, inode: 7, changed: old}
	for _, test := range []struct {
		name string
		was  attributes
		is   attributes
		want bool
	}{
		{"nothing", was, was, true},
		{"the size", was, attributes{size: 2, modified: old, inode: 7, changed: old}, false},
		{"the modification time", was, attributes{size: 1, modified: now, inode: 7, changed: old}, false},
		{"the inode", was, attributes{size: 1, modified: old, inode: 8, changed: old}, false},
		{"the change time", was, attributes{size: 1, modified: old, inode: 7, changed: now}, false},
		{"nothing, where the system tells less", attributes{size: 1, modified: old}, attributes{size: 1, modified: old}, true},
		{"nothing, just after a change", attributes{size: 1, modified: old, changed: now}, attributes{size: 1, modified: old, changed: now}, false},
	} {
		if got := (stamp{test.was, now}).proves(test.is); got != test.want {
			t.Errorf("with another value of %s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func (p *project) stat(name string) os.FileInfo {
	p.t.Helper()
	info, err := os.Stat(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return info
}
