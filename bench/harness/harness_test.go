package harness

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// fake is a system within one process.
type fake struct {
	echoes, pushed, closed atomic.Int64
	broken                 bool
}

func (f *fake) system() System {
	return System{Name: "fake", Start: func(context.Context) (Worker, error) { return f, nil }}
}

func (f *fake) Caller(context.Context) (Caller, error) { return f, nil }

func (f *fake) Pid() int { return os.Getpid() }

func (f *fake) Address() string { return "" }

func (f *fake) Close() error { f.closed.Add(1); return nil }

func (f *fake) Echo(_ context.Context, payload []byte) ([]byte, error) {
	if f.broken {
		return nil, errors.New("broken")
	}
	f.echoes.Add(1)
	return Echo(payload), nil
}

func (f *fake) Push(_ context.Context, size int) error {
	if f.broken {
		return errors.New("broken")
	}
	f.pushed.Add(int64(size))
	return nil
}

func TestSectionsMeasureWhatTheyPromise(t *testing.T) {
	for name, want := range map[string][]string{
		"latency":    {"unary64.p50", "unary64.p99", "unary64.allocs", "unary64k.p50"},
		"throughput": {"calls.rate", "calls.p50", "calls.p99"},
		"bulk":       {"push1m", "echo1m", "push64m", "echo64m"},
		"cold":       {"start"},
		"scale":      {"start.rate", "p50", "p99", "shutdown"},
	} {
		f := new(fake)
		m, err := sections[name](t.Context(), f.system(), options{"ms": "1", "warmup": "10", "workers": "3"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, metric := range want {
			if _, ok := m[metric]; !ok {
				t.Errorf("%s: no %s in %v", name, metric, m)
			}
		}
		if f.closed.Load() == 0 {
			t.Errorf("%s: no worker was closed", name)
		}
	}
}

func TestASystemThatFailsClosesItsWorkers(t *testing.T) {
	for name := range sections {
		if name == "spawn" {
			continue
		}
		f := &fake{broken: true}
		_, err := sections[name](t.Context(), f.system(), options{"ms": "1"})
		if err == nil && name != "bulk" {
			t.Errorf("%s: no error", name)
		}
		if f.closed.Load() == 0 {
			t.Errorf("%s: no worker was closed", name)
		}
	}
}

func TestAReplyThatDiffersIsAnError(t *testing.T) {
	if err := checked(t.Context(), liar{}, payload(small)); err == nil {
		t.Error("a wrong reply was taken")
	}
}

type liar struct{}

func (liar) Echo(_ context.Context, payload []byte) ([]byte, error) {
	return make([]byte, len(payload)), nil
}

func (liar) Push(context.Context, int) error { return nil }

func TestAReceiptDoesNotDependOnHowTheDataWasCut(t *testing.T) {
	data := payload(100_000)
	whole := ReceiptOf(data)
	for _, size := range []int{1, 64, 1000} {
		cut := new(Receipt)
		for piece := range slices.Chunk(data, size) {
			cut.Add(piece)
		}
		if err := whole.Check(cut.String()); err != nil {
			t.Errorf("in pieces of %d: %v", size, err)
		}
	}
}

func TestAReceiptTellsWhatIsMissingOrDiffers(t *testing.T) {
	sent := payload(1 << 20)
	receipt := ReceiptOf(sent)
	zeros := make([]byte, len(sent))
	swapped := slices.Concat(sent[stride:2*stride], sent[:stride], sent[2*stride:])
	for _, got := range [][]byte{nil, sent[:len(sent)-1], zeros, swapped} {
		if err := receipt.Check(ReceiptOf(got).String()); err == nil {
			t.Errorf("%d bytes that differ were taken", len(got))
		}
	}
}

func TestChunksAreOfTheSizeThatWasAskedFor(t *testing.T) {
	var got []int
	for b := range Chunks(2*MaxChunk+1, 2*MaxChunk) {
		got = append(got, len(b))
	}
	if want := []int{MaxChunk, MaxChunk, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestQuantileIsATimeThatWasMeasured(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := Quantile(hundred, q); got != want {
			t.Errorf("quantile %v = %d, want %d", q, got, want)
		}
	}
	if got := Quantile([]time.Duration(nil), 0.5); got != 0 {
		t.Errorf("quantile of nothing = %d", got)
	}
}
