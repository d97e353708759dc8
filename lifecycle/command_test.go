package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatNoProgramCanBeGivenIsNamedBeforeAnythingIsStarted(t *testing.T) {
	long := strings.Repeat("x", maxName)
	for _, test := range []struct {
		c    Command
		want string
	}{
		{Command{Path: "sleep", Name: "a\nb"}, `start sleep: worker name "a\nb" has a control character: `},
		{Command{Path: "sleep", Name: "a\x00b"}, `start sleep: worker name "a\x00b" has a control character: `},
		{Command{Path: "sleep", Name: "a\u0085b"}, `start sleep: worker name "a\u0085b" has a control character: `},
		{Command{Path: "sleep", Name: "a\xffb"}, `start sleep: worker name "a\xffb" is not valid UTF-8: `},
		{Command{Path: "sleep", Name: long + "x"}, `start sleep: worker name "` + long[:40] + `" is 256 bytes long, more than 255: `},
		{Command{Path: "/none/a\tb"}, `start "/none/a\tb": worker name "a\tb" has a control character: `},
		{*Self("a\nb"), `start worker: worker name "a\nb" has a control character: `},
		{Command{Path: "/none/a\x00b"}, `start "/none/a\x00b": Path has a NUL byte: `},
		{Command{Path: "sleep", Dir: "/a\x00b"}, `start sleep: Dir "/a\x00b" has a NUL byte: `},
		{Command{Path: "sleep", Args: []string{"1", "secret\x00"}}, `start sleep: Args[1] has a NUL byte: `},
		{Command{Path: "sleep", Env: []string{"A=1", "B=secret\x00"}}, `start sleep: Env[1] (variable "B") has a NUL byte: `},
		{Command{Path: "sleep", Env: []string{"B\x00=1"}}, `start sleep: Env[0] (variable "B\x00") has a NUL byte: `},
	} {
		test.c.RuntimeDir = filepath.Join(t.TempDir(), "runtime")
		p, err := test.c.Start(t.Context())
		if err == nil {
			p.Kill()
			t.Errorf("started, want %q", test.want)
			continue
		}
		if want := test.want + fs.ErrInvalid.Error(); err.Error() != want || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("got %q, want %q", err, want)
		}
		if _, err := os.Lstat(test.c.RuntimeDir); err == nil {
			t.Errorf("%q: the runtime directory was made", test.want)
		}
	}
}

func TestNamesInAnyLanguageAreTaken(t *testing.T) {
	for _, name := range []string{"", "demo worker", "wörker-工人 🛠", strings.Repeat("x", maxName), `a"b\c`} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
