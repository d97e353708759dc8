package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newRegistry(t testing.TB) *Registry {
	t.Helper()
	r, err := OpenRegistry(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func claimName(t testing.TB, r *Registry, name string) *Claim {
	t.Helper()
	claim, err := r.TryClaim(name)
	if err != nil || claim == nil {
		t.Fatalf("got %v, %v, want the name claimed", claim, err)
	}
	t.Cleanup(claim.Release)
	return claim
}

// instanceRecord is a record of a worker whose directory is there, or is not.
func instanceRecord(t testing.TB, id string, there bool) *Record {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	if there {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		lock, err := lockShared(dir) // as a worker that lives holds it
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { lock.Close() })
	}
	return &Record{
		Address: Address{Name: "w", ID: id, Dir: dir, Secret: []byte{1}}, Program: "/bin/w", Started: time.Now().Round(0),
		Fingerprint: Fingerprint{Executable: "sha256:0", Args: []string{"w"}}, Process: identity{Pid: 1, Start: "2"},
	}
}

func publishRecord(t testing.TB, r *Registry, name string, rec *Record) {
	t.Helper()
	claim := claimName(t, r, name)
	defer claim.Release()
	if err := claim.Publish(rec); err != nil {
		t.Fatal(err)
	}
}

func TestRegistryHasOneRecordForEachName(t *testing.T) {
	r := newRegistry(t)
	names := []string{"a", "A", "../a", "a/b", strings.Repeat("x", 255), "ä"}
	for i, name := range names {
		if rec, err := r.Lookup(name); rec != nil || err != nil {
			t.Errorf("%q: got %v, %v before it was published", name, rec, err)
		}
		publishRecord(t, r, name, instanceRecord(t, "old", true))
		publishRecord(t, r, name, instanceRecord(t, fmt.Sprint(i), true))
	}
	for i, name := range names {
		rec, err := r.Lookup(name)
		if err != nil || rec == nil || rec.ID != fmt.Sprint(i) || rec.SharedName != name || rec.Pid() != 1 || rec.Secret[0] != 1 {
			t.Errorf("%q: got %+v, %v", name, rec, err)
		}
	}
	if records, err := r.Records(); err != nil || len(records) != len(names) {
		t.Errorf("got %v, %v, want %d", records, err, len(names))
	}
}

// LESSONS 14
func TestRecordThatIsNoneIsReplaced(t *testing.T) {
	r := newRegistry(t)
	good, err := json.Marshal(&Record{Version: recordVersion, SharedName: "another"})
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string]string{
		"empty": "", "garbage": "\x00\xff", "null": "null", "no object": "[]", "no field": "{}", "cut": string(good[:len(good)/2]),
		"of another name": string(good), "another type": `{"version":1,"name":7}`, "version as text": `{"version":"1"}`, "twice": string(good) + string(good),
	} {
		if err := os.WriteFile(r.path("n", recordSuffix), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if rec, err := r.Lookup("n"); rec != nil || err != nil {
			t.Errorf("%s: got %+v, %v, want none", what, rec, err)
		}
		publishRecord(t, r, "n", instanceRecord(t, "id", true))
		if rec, err := r.Lookup("n"); err != nil || rec == nil || rec.ID != "id" {
			t.Errorf("%s: got %+v, %v, want the new one", what, rec, err)
		}
	}
}

// One of a worker that is gone is in nobody's way, whatever wrote it. LESSONS 14
func TestRecordOfAnotherVersionOfADeadWorkerIsNone(t *testing.T) {
	r := newRegistry(t)
	newer := fmt.Appendf(nil, `{"version":%d,"name":"n","id":"id","dir":"/none","news":{}}`, recordVersion+1)
	if err := os.WriteFile(r.path("n", recordSuffix), newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Lookup("n"); rec != nil || err != nil {
		t.Errorf("got %v, %v, want none", rec, err)
	}
}

// Whoever knows it may have a worker there that serves.
func TestRecordOfAnotherVersionIsLeftAlone(t *testing.T) {
	r := newRegistry(t)
	path := r.path("n", recordSuffix)
	lives := instanceRecord(t, "id", true)
	newer := fmt.Appendf(nil, `{"version":%d,"name":["n"],"id":"id","dir":%q,"news":{}}`, recordVersion+1, lives.Dir)
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Lookup("n"); rec != nil || !errors.Is(err, ErrRecordVersion) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, %v, want ErrRecordVersion with the path", rec, err)
	}
	claim := claimName(t, r, "n")
	if err := claim.Remove("id"); !errors.Is(err, ErrRecordVersion) {
		t.Errorf("got %v, want ErrRecordVersion", err)
	}
	claim.Release()
	if swept := r.Sweep(); len(swept) > 0 {
		t.Errorf("%v was swept", swept)
	}
	if records, err := r.Records(); len(records) > 0 || err != nil {
		t.Errorf("got %v, %v, want it left out", records, err)
	}
	if got, err := os.ReadFile(path); string(got) != string(newer) {
		t.Errorf("got %s, %v, want it unchanged", got, err)
	}
}

func TestRecordThatCannotBeReadIsAnError(t *testing.T) {
	r := newRegistry(t)
	if err := os.Mkdir(r.path("n", recordSuffix), 0o700); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Lookup("n"); rec != nil || err == nil || errors.Is(err, ErrRecordVersion) {
		t.Errorf("got %v, %v, want an error", rec, err)
	}
}

func TestPublishedRecordChangesAtOneBlow(t *testing.T) {
	r := newRegistry(t)
	publishRecord(t, r, "n", instanceRecord(t, "0", true))
	claim := claimName(t, r, "n")
	var over atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !over.Load() {
				if rec, err := r.Lookup("n"); rec == nil || err != nil || rec.Program != strings.Repeat(rec.ID, 1000) && rec.ID != "0" {
					t.Errorf("got %+v, %v", rec, err)
					return
				}
			}
		})
	}
	rec := instanceRecord(t, "0", false)
	for i := range 300 {
		rec.ID = fmt.Sprint(i + 1)
		rec.Program = strings.Repeat(rec.ID, 1000)
		if err := claim.Publish(rec); err != nil {
			t.Error(err)
		}
	}
	over.Store(true)
	readers.Wait()
	if left, _ := filepath.Glob(filepath.Join(r.dir, "*"+tempSuffix)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// LESSONS 16
func TestNameIsClaimedByOneOnly(t *testing.T) {
	r := newRegistry(t)
	var holders, most, claims atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				claim, err := r.TryClaim("n")
				if err != nil {
					t.Error(err)
				}
				if claim == nil {
					continue
				}
				claims.Add(1)
				most.Store(max(most.Load(), holders.Add(1)))
				runtime.Gosched()
				holders.Add(-1)
				claim.Release()
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d had it at once, in %d claims", most.Load(), claims.Load())
	}
}

// LESSONS 18
func TestClaimOfANameSaysWhoHasIt(t *testing.T) {
	r := newRegistry(t)
	if holder, ok := r.Holder("n"); ok {
		t.Errorf("got %+v before anybody had it", holder)
	}
	claim := claimName(t, r, "n")
	holder, ok := r.Holder("n")
	if own, _ := os.Executable(); !ok || holder.Pid != os.Getpid() || holder.Program != own || time.Since(holder.Since) > time.Minute {
		t.Errorf("got %+v, want this process", holder)
	}
	if second, err := r.TryClaim("n"); second != nil || err != nil {
		t.Errorf("got %v, %v, want the name to be taken", second, err)
	}
	claimName(t, r, "other")
	claim.Release()
	claim.Release()
	claimName(t, r, "n")
}

func TestNameCanBeClaimedWhenItsLockOrTheDirectoryWasRemoved(t *testing.T) {
	r := newRegistry(t)
	claimName(t, r, "n")
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not remove files that are open")
	}
	if err := os.Remove(r.path("n", lockSuffix)); err != nil {
		t.Fatal(err)
	}
	claimName(t, r, "n").Release()
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	claim := claimName(t, r, "n")
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	if err := claim.Publish(instanceRecord(t, "id", true)); err != nil {
		t.Error(err)
	}
	if rec, err := r.Lookup("n"); err != nil || rec == nil {
		t.Errorf("got %v, %v, want the record", rec, err)
	}
}

// LESSONS 15
func TestWorkerRemovesOnlyItsOwnRecord(t *testing.T) {
	r := newRegistry(t)
	publishRecord(t, r, "n", instanceRecord(t, "new", true))
	claim := claimName(t, r, "n")
	if err := claim.Remove("old"); err != nil {
		t.Error(err)
	}
	if rec, _ := r.Lookup("n"); rec == nil {
		t.Fatal("it has removed that of another worker")
	}
	for range 2 {
		if err := claim.Remove("new"); err != nil {
			t.Error(err)
		}
		if rec, err := r.Lookup("n"); rec != nil || err != nil {
			t.Errorf("got %v, %v, want it removed", rec, err)
		}
	}
}

// LESSONS 14
func TestSweepOfTheRegistryTakesOnlyRecordsOfWorkersThatAreGone(t *testing.T) {
	r := newRegistry(t)
	publishRecord(t, r, "lives", instanceRecord(t, "1", true))
	publishRecord(t, r, "gone", instanceRecord(t, "2", false))
	publishRecord(t, r, "claimed", instanceRecord(t, "3", false))
	claim := claimName(t, r, "claimed")
	if got := r.Sweep(); !slices.Equal(got, []string{"gone"}) {
		t.Errorf("got %v, want gone", got)
	}
	claim.Release()
	if got := r.Sweep(); !slices.Equal(got, []string{"claimed"}) {
		t.Errorf("got %v, want claimed", got)
	}
	if rec, err := r.Lookup("lives"); rec == nil {
		t.Errorf("the record of a worker that lives is gone: %v", err)
	}
}

func TestNamesThatMessagesCannotCarryAreRefused(t *testing.T) {
	for _, name := range []string{"", strings.Repeat("x", 256), "a\x00", "\n", "\x7f", "\u0085", "\xff"} {
		if err := CheckSharedName(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: got %v, want it refused", name, err)
		}
	}
	for _, name := range []string{"a", strings.Repeat("x", 255), strings.Repeat("é", 127), "/../", "a b", "🚀", "."} {
		if err := CheckSharedName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// rivalry replays who replaces whom under one name. Time passes only while
// somebody waits, and where a test says so.
type rivalry struct {
	rec *Record
	now time.Time
}

func config(name string) Fingerprint { return Fingerprint{Args: []string{name}} }

func newRivalry(first string) *rivalry {
	return &rivalry{rec: &Record{Fingerprint: config(first)}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// replace returns how long the configuration has to wait, waits and replaces.
func (r *rivalry) replace(name string) time.Duration {
	f := config(name)
	pause := r.rec.Contention(&f, r.now)
	r.now = r.now.Add(pause)
	r.rec = &Record{Fingerprint: f, Past: r.rec.Supersede(r.now)}
	return pause
}

// LESSONS 19
func TestConfigurationsThatReplaceEachOtherWaitLongerAndLonger(t *testing.T) {
	r := newRivalry("a")
	var got []time.Duration
	for i := range 9 {
		got = append(got, r.replace([]string{"b", "a"}[i%2])/time.Second)
	}
	if want := []time.Duration{0, 0, 0, 1, 2, 4, 8, 16, 30}; !slices.Equal(got, want) {
		t.Errorf("got %v s, want %v", got, want)
	}
	waited := time.Duration(0)
	for i := range 100 {
		pause := r.replace([]string{"a", "b"}[i%2])
		if waited += pause; pause > maxContention || pause < minContention {
			t.Errorf("got %v, want between %v and %v", pause, minContention, maxContention)
		}
	}
	if waited < 100*4*time.Second {
		t.Errorf("in the long run they wait %v each", waited/100)
	}
	if n := len(r.rec.Past); n > pastMax {
		t.Errorf("%d are remembered, want %d at most", n, pastMax)
	}
}

// LESSONS 19
func TestNewConfigurationsNeverWait(t *testing.T) {
	r := newRivalry("first")
	for i := range 100 {
		if pause := r.replace(fmt.Sprint(i)); pause > 0 {
			t.Errorf("configuration %d has waited %v", i, pause)
		}
	}
	for i := range 8 {
		r.replace([]string{"b", "a"}[i%2])
	}
	if pause := r.replace("new"); pause > 0 {
		t.Errorf("a new one has waited %v while two others fight", pause)
	}
}

// LESSONS 19
func TestThreeConfigurationsInTurnWaitAsWell(t *testing.T) {
	r := newRivalry("c")
	waited := time.Duration(0)
	for i := range 12 {
		waited += r.replace([]string{"a", "b", "c"}[i%3])
	}
	if waited < 10*time.Second {
		t.Errorf("they have waited %v in all", waited)
	}
}

func TestTimeThatHasPassedSinceTheLastReplacementCounts(t *testing.T) {
	r := newRivalry("a")
	for i := range 3 {
		r.replace([]string{"b", "a"}[i%2])
	}
	r.now = r.now.Add(400 * time.Millisecond)
	if f := config("a"); r.rec.Contention(&f, r.now) != 600*time.Millisecond {
		t.Errorf("got %v, want the rest of 1 s", r.rec.Contention(&f, r.now))
	}
	r.now = r.now.Add(time.Second)
	if pause := r.replace("a"); pause != 0 {
		t.Errorf("got %v, want none, because it is over", pause)
	}
}

func TestPastIsForgottenInTime(t *testing.T) {
	r := newRivalry("a")
	for i := range 9 {
		r.replace([]string{"b", "a"}[i%2])
	}
	r.now = r.now.Add(pastSpan)
	for i := range 3 {
		if pause := r.replace([]string{"a", "b"}[i%2]); pause > 0 {
			t.Errorf("replacement %d has waited %v", i, pause)
		}
	}
	if len(r.rec.Past) != 3 {
		t.Errorf("got %v, want the last three only", r.rec.Past)
	}
}

func TestClockThatIsSetBackMakesNobodyWaitLong(t *testing.T) {
	for _, back := range []time.Duration{time.Millisecond, time.Second, time.Hour, 50 * 365 * 24 * time.Hour} {
		r := newRivalry("a")
		for i := range 9 {
			r.replace([]string{"b", "a"}[i%2])
		}
		r.now = r.now.Add(-back)
		f := config("a")
		if pause := r.rec.Contention(&f, r.now); pause < 0 || pause > maxContention {
			t.Errorf("set back by %v: got %v", back, pause)
		}
		r.replace("a")
		for _, p := range r.rec.Past {
			if p.At.After(r.now) {
				t.Errorf("set back by %v: %v of the future is remembered at %v", back, p.At, r.now)
			}
		}
	}
}

// Who restarts a worker replaces its configuration with the same one.
// LESSONS 19
func TestRestartsAreNoRivalry(t *testing.T) {
	r := newRivalry("a")
	for i := range 5 {
		if pause := r.replace("a"); pause > 0 {
			t.Errorf("restart %d has waited %v", i, pause)
		}
	}
	r.replace("b")
	if pause := r.replace("a"); pause > 0 {
		t.Errorf("after restarts the first return has waited %v", pause)
	}
}
