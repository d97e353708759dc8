package lifecycle

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func aFingerprint() *Fingerprint {
	return &Fingerprint{
		Executable: "sha256:00", Args: []string{"w", "-x"}, Env: []string{"A=1", "B"}, Dir: "/d", Limits: Limits{Nice: 5},
		Config: json.RawMessage(`{"n":1}`),
	}
}

// LESSONS 20
func TestFingerprintsDifferInEachField(t *testing.T) {
	for _, test := range []struct {
		want   Difference
		change func(*Fingerprint)
	}{
		{Difference{"executable", "sha256:00", "sha256:01"}, func(f *Fingerprint) { f.Executable = "sha256:01" }},
		{Difference{"args", `["w" "-x"]`, `["v" "-x"]`}, func(f *Fingerprint) { f.Args = []string{"v", "-x"} }},
		{Difference{"args", `["w" "-x"]`, `["w -x"]`}, func(f *Fingerprint) { f.Args = []string{"w -x"} }},
		{Difference{"args", `["w" "-x"]`, `["w" "-x" ""]`}, func(f *Fingerprint) { f.Args = []string{"w", "-x", ""} }},
		{Difference{"env A", `"1"`, `"2"`}, func(f *Fingerprint) { f.Env = []string{"A=2", "B"} }},
		{Difference{"env A", `"1"`, `not set`}, func(f *Fingerprint) { f.Env = []string{"A", "B"} }},
		{Difference{"env B", `not set`, `""`}, func(f *Fingerprint) { f.Env = []string{"A=1", "B="} }},
		{Difference{"env C", `not set`, `"="`}, func(f *Fingerprint) { f.Env = []string{"A=1", "B", "C=="} }},
		{Difference{"dir", `"/d"`, `""`}, func(f *Fingerprint) { f.Dir = "" }},
		{Difference{"limits", `Nice 5`, `Memory 1 MiB, Nice 5`}, func(f *Fingerprint) { f.Limits.Memory = 1 << 20 }},
		{Difference{"limits", `Nice 5`, `none`}, func(f *Fingerprint) { f.Limits = Limits{} }},
		{Difference{"config", `{"n":1}`, `{"n":2}`}, func(f *Fingerprint) { f.Config = json.RawMessage(`{"n":2}`) }},
		{Difference{"config", `{"n":1}`, `none`}, func(f *Fingerprint) { f.Config = nil }},
	} {
		was, is := aFingerprint(), aFingerprint()
		test.change(is)
		if got := was.Diff(is); !slices.Equal(got, []Difference{test.want}) {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
		if was.Sum() == is.Sum() {
			t.Errorf("%s: both have the sum %s", test.want, is.Sum())
		}
	}
}

func TestFingerprintsThatAreTheSameDoNotDiffer(t *testing.T) {
	a, b := aFingerprint(), aFingerprint()
	b.stamp = stamp{Size: 1}
	if diff := a.Diff(b); len(diff) > 0 || a.Sum() != b.Sum() {
		t.Errorf("got %v, and sums %s and %s", diff, a.Sum(), b.Sum())
	}
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(a.Sum()) {
		t.Errorf("got the sum %s", a.Sum())
	}
}

func TestDifferencesOfAllFieldsAreInOrder(t *testing.T) {
	var fields []string
	for _, d := range aFingerprint().Diff(&Fingerprint{Env: []string{"C=1", "A=2"}}) {
		fields = append(fields, d.Field)
	}
	if want := []string{"executable", "args", "env A", "env C", "dir", "limits", "config"}; !slices.Equal(fields, want) {
		t.Errorf("got %v, want %v", fields, want)
	}
}

func TestDifferenceShowsLongValuesInPart(t *testing.T) {
	was, is := aFingerprint(), aFingerprint()
	is.Config = json.RawMessage(`"` + strings.Repeat("ä", 1<<20) + `"`)
	diff := was.Diff(is)
	if len(diff) != 1 || len(diff[0].Is) > maxShown+3 || !strings.HasSuffix(diff[0].Is, "ä...") || !utf8.ValidString(diff[0].String()) {
		t.Errorf("got %d bytes: %.300s", len(diff[0].String()), diff)
	}
}

func TestChosenVariablesAreThoseThatAreNamed(t *testing.T) {
	env := []string{"A=1", "AB=2", "A=3", "EMPTY=", "EQ=a=b", "=C:=x"}
	for _, test := range []struct{ names, want []string }{
		{nil, nil},
		{[]string{"A"}, []string{"A=3"}},
		{[]string{"EQ", "A", "A", "AB"}, []string{"A=3", "AB=2", "EQ=a=b"}},
		{[]string{"NONE", "EMPTY"}, []string{"EMPTY=", "NONE"}},
		{[]string{"a"}, []string{"a"}},
	} {
		if got := chosen(env, test.names); !slices.Equal(got, test.want) {
			t.Errorf("%v: got %v, want %v", test.names, got, test.want)
		}
	}
}

// A worker that nothing has changed for would be replaced each time, otherwise.
// LESSONS 19, 20
func TestFingerprintOutlivesItsRecord(t *testing.T) {
	type typed struct {
		Text  string
		Float float64
		Map   map[string]int
	}
	for what, cmd := range map[string]*Command{
		"plain":         {Args: []string{"-x"}},
		"HTML":          {Args: []string{"<&>\u2028"}, Config: typed{Text: "<&>\u2028"}},
		"numbers":       {Config: typed{Float: 1e300, Map: map[string]int{"b": 1, "a": 1 << 60}}},
		"spaces":        {Config: json.RawMessage("{ \"a\" :\n 1 }")},
		"null":          {Config: (*typed)(nil)},
		"nothing":       {Config: struct{}{}},
		"control":       {Args: []string{"\x01\x7f\t\n"}},
		"no UTF-8 args": {Args: []string{"caf\xe9"}},
		"no UTF-8 env":  {Env: append(os.Environ(), "LATIN=caf\xe9"), FingerprintEnv: []string{"LATIN"}},
	} {
		cmd.Path = os.Args[0]
		f, err := cmd.Fingerprint(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := newRegistry(t)
		rec := instanceRecord(t, "id", true)
		rec.Fingerprint = *f
		publishRecord(t, r, "n", rec)
		if rec, err = r.Lookup("n"); err != nil || rec == nil {
			t.Fatal(err)
		}
		if diff := rec.Fingerprint.Diff(f); len(diff) > 0 || rec.Fingerprint.Sum() != f.Sum() {
			t.Errorf("%s: got %v, and sums %s and %s", what, diff, rec.Fingerprint.Sum(), f.Sum())
		}
	}
}

func TestFingerprintOfACommandHasWhatTheWorkerGets(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("below", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FINGERPRINT_TEST", "of the process")
	f, err := (&Command{
		Path: os.Args[0], Args: []string{"a"}, Dir: "below", FingerprintEnv: []string{"FINGERPRINT_TEST"}, Config: map[string]int{"n": 1},
	}).Fingerprint(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Fingerprint{
		Executable: f.Executable, Args: []string{filepath.Base(os.Args[0]), "a"}, Env: []string{"FINGERPRINT_TEST=of the process"},
		Dir: filepath.Join(wd, "below"), Config: json.RawMessage(`{"n":1}`),
	}
	if diff := want.Diff(f); len(diff) > 0 || !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(f.Executable) {
		t.Errorf("got %+v, want %+v", f, want)
	}
	self, err := Self("named").Fingerprint(nil)
	if err != nil || self.Executable != f.Executable || self.Args[0] != "named" {
		t.Errorf("got %+v, %v, want this executable called by its name", self, err)
	}
}

func TestFingerprintOfACommandThatCannotBeStartedIsAnError(t *testing.T) {
	for what, test := range map[string]struct {
		cmd  Command
		want error
	}{
		"no program": {Command{Path: "/nonexistent/program"}, fs.ErrNotExist},
		"no path":    {Command{}, exec.ErrNotFound},
		"NUL":        {Command{Path: os.Args[0], Args: []string{"\x00"}}, fs.ErrInvalid},
		"no dir":     {Command{Path: os.Args[0], Dir: "/nonexistent"}, fs.ErrNotExist},
	} {
		if f, err := test.cmd.Fingerprint(nil); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, %v, want %v", what, f, err, test.want)
		}
	}
	if f, err := (&Command{Path: os.Args[0], Config: func() {}}).Fingerprint(nil); err == nil || !strings.Contains(err.Error(), "encode config") {
		t.Errorf("got %v, %v, want an error about the config", f, err)
	}
}

func skipWithoutStamps(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("executables are read each time on this system")
	}
}

func freshFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustHash(t *testing.T, path string) (string, stamp) {
	t.Helper()
	hash, s, err := hashFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return hash, s
}

// Two writes within one tick of the file system's clock have the same stamp.
// LESSONS 20
func TestStampTellsOnlyWhenTheLastChangeIsLongAgo(t *testing.T) {
	const fine, coarse = int64(1700000000_123456789), int64(1700000000_123000000)
	for _, test := range []struct {
		mtime, ctime int64
		age          time.Duration // of the later one
		want         bool
	}{
		{fine, fine, settledFine, true}, {fine, fine, settledFine - 1, false}, {fine, fine, 0, false}, {fine, fine, -time.Hour, false},
		{coarse, coarse, settledCoarse, true}, {coarse, coarse, settledCoarse - 1, false}, {coarse, coarse, -time.Hour, false},
		{coarse, fine, settledFine, true}, {fine - int64(time.Hour), fine, settledFine - 1, false}, {fine, coarse - 1e9, settledFine - 1, false},
		{fine - int64(time.Hour), fine, settledFine, true}, {coarse + 1e9, fine, settledFine, false}, {coarse + 1e9, fine, settledCoarse, true},
	} {
		s := stamp{Mtime: test.mtime, Change: test.ctime}
		if got := s.settled(time.Unix(0, max(test.mtime, test.ctime)).Add(test.age)); got != test.want {
			t.Errorf("%+v after %v: got %v", s, test.age, got)
		}
	}
}

// LESSONS 20
func TestFileThatWasWrittenJustNowHasNoStampYet(t *testing.T) {
	skipWithoutStamps(t)
	path := freshFile(t, "one")
	for _, at := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
		changed := time.Now()
		if err := os.Chtimes(path, at, at); err != nil { // which is a change as well
			t.Fatal(err)
		}
		hash, s := mustHash(t, path)
		if s != (stamp{}) && time.Since(changed) < settledFine || hash != "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed" {
			t.Errorf("written at %v: got %s, %+v", at, hash, s)
		}
	}
}

// LESSONS 20
func TestFileThatHasSettledIsKnownByItsStamp(t *testing.T) {
	skipWithoutStamps(t)
	t.Parallel()
	path := freshFile(t, "one")
	hash, s := mustHash(t, path)
	for end := time.Now().Add(10 * time.Second); s == (stamp{}) && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		hash, s = mustHash(t, path)
	}
	if s == (stamp{}) || s != stampPath(path) {
		t.Fatalf("got %+v, want %+v", s, stampPath(path))
	}
	written := time.Unix(0, s.Mtime)
	if since := time.Since(written); since < settledFine {
		t.Errorf("the stamp tells after %v", since)
	}
	cmd := &Command{Path: path}
	known := &Record{Fingerprint: Fingerprint{Executable: "sha256:known"}, Stamp: s}
	if f, err := cmd.Fingerprint(known); err != nil || f.Executable != "sha256:known" || f.stamp != s {
		t.Errorf("got %+v, %v, want the file not to be read again", f, err)
	}
	if err := os.WriteFile(path, []byte("two"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, written, written); err != nil { // it can't hide the change
		t.Fatal(err)
	}
	f, err := cmd.Fingerprint(known)
	if other, _ := mustHash(t, path); err != nil || f.Executable != other || other == hash {
		t.Errorf("got %+v, %v, want %s", f, err, other)
	}
}

func TestRecordWithoutStampHasTheFileReadAgain(t *testing.T) {
	known := &Record{Fingerprint: Fingerprint{Executable: "sha256:known"}}
	f, err := (&Command{Path: os.Args[0]}).Fingerprint(known)
	if want, _ := mustHash(t, os.Args[0]); err != nil || f.Executable != want {
		t.Errorf("got %+v, %v, want %s", f, err, want)
	}
}

func TestRestampIsForTheSameWorkerAndAnUnclaimedNameOnly(t *testing.T) {
	r := newRegistry(t)
	rec := instanceRecord(t, "id", true)
	publishRecord(t, r, "n", rec)
	stampIs := func(want int64) {
		t.Helper()
		if now, err := r.Lookup("n"); err != nil || now.Stamp.Size != want {
			t.Errorf("got %+v, %v, want size %d", now, err, want)
		}
	}
	claim := claimName(t, r, "n")
	r.Restamp(rec, &Fingerprint{stamp: stamp{Size: 1}})
	stampIs(0)
	claim.Release()
	r.Restamp(rec, &Fingerprint{})
	stampIs(0)
	other := *rec
	other.ID = "other"
	r.Restamp(&other, &Fingerprint{stamp: stamp{Size: 2}})
	stampIs(0)
	r.Restamp(rec, &Fingerprint{stamp: stamp{Size: 3}})
	stampIs(3)
	if now, _ := r.Lookup("n"); now.Secret[0] != 1 || now.Process != rec.Process || len(now.Fingerprint.Diff(&rec.Fingerprint)) > 0 {
		t.Errorf("got %+v, want nothing else changed of %+v", now, rec)
	}
}
