package report

import (
	"bytes"
	"fmt"
	"slices"
	"text/template"
)

// chart shows one column of figures as bars.
type chart struct {
	file, title string
	section     string
	column      column
}

var charts = []chart{
	{"latency.svg", "Warm call of 64 B, median", Latency, metric("", "unary64.p50", nanoseconds)},
	{"throughput.svg", "Calls per second, 64 callers on one worker", Throughput, more("", "calls.rate", perSecond)},
	{"cold.svg", "Cold start to the first reply, median", Cold, metric("", "start.p50", nanoseconds)},
	{"bulk.svg", "64 MiB one-way", Bulk, more("", "push64m", bytesPerSecond)},
	{"exit.svg", "Idle worker's exit after its owner's SIGKILL, 99th percentile", Exit, exit("idle", 0.99)},
	{"exit-busy.svg", "Busy worker's exit after its owner's SIGKILL, 99th percentile", Exit, exit("busy", 0.99)},
	{"memory.svg", "Memory of an idle worker (RSS)", Memory, metric("", "worker.rss", bytesOf)},
}

// Charts returns SVG images by their file names: one for each chart of which
// something was measured. They suit light and dark pages.
func Charts(r *Results) map[string][]byte {
	images := make(map[string][]byte)
	for _, c := range charts {
		if bars := c.bars(r); len(bars) > 0 {
			images[c.file] = c.draw(bars, r.Environment)
		}
	}
	return images
}

// bar is one system in a chart.
type bar struct {
	Name, Label, Class string
	Y, Width           float64 // in the image's units

	value float64
	none  bool // no value, and Label says why
}

// Measures of an image.
const (
	nameWidth = 150.0
	barsWidth = 440.0
	barHeight = 20.0
	barStep   = 28.0
	barsTop   = 64.0
	below     = 30.0
)

// bars returns the systems that have a figure, the best first.
func (c *chart) bars(r *Results) []bar {
	var bars []bar
	for _, s := range r.Systems {
		m := r.find(c.section, s.Name)
		if f, ok := c.column.of(m); ok {
			bars = append(bars, bar{Name: s.Name, Label: c.column.format(f.median), value: f.median})
		} else if c.section == Exit && m != nil && len(m.Runs) > 0 {
			bars = append(bars, bar{Name: s.Name, Label: "stays", none: true})
		}
	}
	slices.SortStableFunc(bars, func(a, b bar) int { return c.compare(a, b) })
	return bars
}

func (c *chart) compare(a, b bar) int {
	switch {
	case a.none && b.none:
		return 0
	case a.none:
		return 1
	case b.none:
		return -1
	case c.column.better.better(a.value, b.value):
		return -1
	case c.column.better.better(b.value, a.value):
		return 1
	}
	return 0
}

// picture is what the template needs.
type picture struct {
	Title, Hint, Foot string
	Height, FootY     float64
	Bars              []bar
}

func (c *chart) draw(bars []bar, e Environment) []byte {
	var greatest float64
	for _, b := range bars {
		greatest = max(greatest, b.value)
	}
	for i := range bars {
		bars[i].Y = barsTop + float64(i)*barStep
		bars[i].Class = class(bars[i].Name)
		if greatest > 0 {
			bars[i].Width = barsWidth * bars[i].value / greatest
		}
	}
	height := barsTop + float64(len(bars))*barStep + below
	p := picture{Title: c.title, Hint: "shorter is better", Height: height, FootY: height - 12, Bars: bars}
	if c.column.better == higher {
		p.Hint = "longer is better"
	}
	p.Foot = fmt.Sprintf("%s, %d cores, %s, %s, %s", e.CPU, e.Cores, e.Kernel, e.Go, e.Date)
	var b bytes.Buffer
	if err := image.Execute(&b, p); err != nil {
		return nil // a buffer takes everything
	}
	return b.Bytes()
}

// class is how a system is painted.
func class(system string) string {
	switch system {
	case Unref:
		return "own"
	case Floor, Hello:
		return "floor"
	}
	return "peer"
}

var image = template.Must(template.New("chart").Funcs(template.FuncMap{
	"xml": template.HTMLEscapeString,
	"add": func(a, b float64) float64 { return a + b },
	"px":  px,
}).Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {{px .Height}}" width="720" height="{{px .Height}}" role="img" aria-label="{{xml .Title}}">
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; }
.faint { font-size: 12px; fill: #59636e; }
.strong { font-weight: 700; }
.own { fill: #0969da; }
.peer { fill: #afb8c1; }
.floor { fill: #d8dee4; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.faint { fill: #9198a1; }
.own { fill: #4493f8; }
.peer { fill: #656c76; }
.floor { fill: #3d444d; }
}
</style>
<text class="title" x="16" y="28">{{xml .Title}}</text>
<text class="faint" x="16" y="48">{{xml .Hint}}</text>
{{range .Bars}}<text{{if eq .Class "own"}} class="strong"{{end}} x="` + px(nameWidth-8) + `" y="{{px (add .Y 15)}}" text-anchor="end">{{xml .Name}}</text>
<rect class="{{.Class}}" x="` + px(nameWidth) + `" y="{{px .Y}}" width="{{px .Width}}" height="` + px(barHeight) + `" rx="2"/>
<text{{if eq .Class "own"}} class="strong"{{end}} x="{{px (add .Width ` + px(nameWidth+8) + `)}}" y="{{px (add .Y 15)}}">{{xml .Label}}</text>
{{end}}<text class="faint" x="16" y="{{px .FootY}}">{{xml .Foot}}</text>
</svg>
`))

func px(v float64) string { return fmt.Sprintf("%.1f", v) }
