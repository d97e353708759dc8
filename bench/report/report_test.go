package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected report anew")

func fixed(t *testing.T) *Results {
	t.Helper()
	r, err := Read(filepath.Join("testdata", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMedianIsTheMiddleOrTheMeanOfTheTwoInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{1, 2}, 1.5}, {[]float64{1, 2, 9}, 2}, {[]float64{1, 2, 4, 9}, 3}} {
		if got := Median(c.values); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestUnitsHaveThreeDigitsThatCount(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{nanoseconds(0), "0 ns"},
		{nanoseconds(18968), "19.0 µs"},
		{nanoseconds(2_746_918), "2.75 ms"},
		{nanoseconds(5e9), "5 s"},
		{bytesOf(7.2e6), "7.20 MB"},
		{perSecond(1234567), "1 234 567/s"},
		{number(4), "4"},
		{times(0.654), "0.65×"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestMarkdownOfFixedResultsIsAsExpected(t *testing.T) {
	got := Markdown(fixed(t))
	path := filepath.Join("testdata", "report.md")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s; look at it with -update and git diff:\n%s", path, got)
	}
}

func TestMarkdownSaysWhereAPeerIsAhead(t *testing.T) {
	text := Markdown(fixed(t))
	if want := "Ahead of unref:\n\n- 64 B, p99 (unref 90 µs): grpc-go 80 µs\n"; !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
}

func TestGoalsAreMetUpToTheirLimit(t *testing.T) {
	atMost, atLeast := goal{better: lower, limit: 3}, goal{better: higher, limit: 3}
	for _, c := range []struct {
		value                 float64
		wantMost, wantAtLeast bool
	}{{2, true, false}, {3, true, true}, {4, false, true}} {
		if got := atMost.met(c.value); got != c.wantMost {
			t.Errorf("%v is at most 3: %v", c.value, got)
		}
		if got := atLeast.met(c.value); got != c.wantAtLeast {
			t.Errorf("%v is at least 3: %v", c.value, got)
		}
	}
}

func TestResultsAreReadAsTheyWereWritten(t *testing.T) {
	r, path := fixed(t), filepath.Join(t.TempDir(), "results.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	again, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if Markdown(again) != Markdown(r) {
		t.Error("the report differs")
	}
}

func TestChartsAreWellFormedAndOfferEachFigure(t *testing.T) {
	images := Charts(fixed(t))
	if len(images) != len(charts) {
		t.Errorf("%d charts, want %d", len(images), len(charts))
	}
	for name, svg := range images {
		if err := wellFormed(svg); err != nil {
			t.Errorf("%s: %v\n%s", name, err, svg)
		}
	}
	for _, want := range []string{">50 µs<", ">100 µs<", "Example &lt;CPU&gt; &amp; Co", `class="own"`, "shorter is better", "prefers-color-scheme: dark"} {
		if !strings.Contains(string(images["latency.svg"]), want) {
			t.Errorf("no %q in latency.svg", want)
		}
	}
	if !strings.Contains(string(images["exit.svg"]), ">stays<") {
		t.Error("exit.svg does not say who stays")
	}
}

func wellFormed(svg []byte) error {
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestChartsShowTheBestFirst(t *testing.T) {
	r := fixed(t)
	for _, c := range charts {
		bars := c.bars(r)
		for i := 1; i < len(bars); i++ {
			if c.compare(bars[i-1], bars[i]) > 0 {
				t.Errorf("%s: %s stands before %s", c.file, bars[i-1].Name, bars[i].Name)
			}
		}
	}
}
