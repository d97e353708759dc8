package main

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

// page answers with the report for people.
func (s *site) page(w http.ResponseWriter, r *http.Request) {
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, s.report(r.Context())); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header(w, "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = text.WriteTo(w) // who does not take it does not need it
}

var pageTemplate = template.Must(template.New("status").Funcs(template.FuncMap{
	"ms":    func(v float64) string { return fmt.Sprintf("%.1f ms", v) },
	"mib":   func(bytes int64) string { return fmt.Sprintf("%d MiB", bytes>>20) },
	"ago":   func(t time.Time) string { return since(t).String() },
	"clock": func(t time.Time) string { return t.Format("15:04:05.000") },
}).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="2">
<title>demo-parent</title>
<style>
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em; max-width: 60em }
table { border-collapse: collapse; margin: 0 0 1.5em }
th, td { padding: .1em 1.2em .1em 0; text-align: left; vertical-align: top; font-variant-numeric: tabular-nums }
th { font-weight: 600; border-bottom: 1px solid }
</style>
</head>
<body>
<h1>{{if .Ready}}ready{{else}}not ready: {{.Trouble}}{{end}}</h1>
<p>up for {{printf "%.0f" .Uptime}} s; {{.Queue.Length}} of {{.Queue.Limit}} places in the queue are taken;
try <a href="/sample.png">/sample.png</a> and <code>curl --data-binary @sample.png 'http://…/thumbnail?width=200'</code>;
the same as JSON is <a href="/status">/status</a></p>
<table>
<tr><th>workers</th><th>wanted</th><th>starting</th><th>busy</th><th>idle</th><th>leaving</th><th>stopping</th></tr>
{{with .Workers}}<tr><td></td><td>{{.Wanted}}</td><td>{{.Starting}}</td><td>{{.Busy}}</td><td>{{.Idle}}</td>
<td>{{.Leaving}}</td><td>{{.Stopping}}</td></tr>{{end}}
</table>
<table>
<tr><th>slot</th><th>pid</th><th>state</th><th>calls</th><th>for</th><th>memory</th></tr>
{{range .Processes}}<tr><td>{{.Slot}}</td><td>{{with .Pid}}{{.}}{{end}}</td><td>{{.State}}{{with .Reason}} ({{.}}){{end}}</td>
<td>{{.Calls}}</td><td>{{ago .Began}}</td><td>{{with .RSS}}{{mib .}}{{end}}</td></tr>
{{end}}</table>
<table>
<tr><th>calls</th><th>running</th><th>ended</th><th>failed</th><th>refused</th><th>queue timeouts</th>
<th>timeouts</th><th>canceled</th><th>retries</th></tr>
{{with .Calls}}<tr><td></td><td>{{.Running}}</td><td>{{.Ended}}</td><td>{{.Failed}}</td><td>{{.Refused}}</td>
<td>{{.QueueTimeouts}}</td><td>{{.Timeouts}}</td><td>{{.Canceled}}</td><td>{{.Retries}}</td></tr>{{end}}
</table>
<table>
<tr><th>time</th><th>p50</th><th>p90</th><th>p99</th><th>longest</th></tr>
{{with .Wait}}<tr><td>in the queue</td><td>{{ms .P50}}</td><td>{{ms .P90}}</td><td>{{ms .P99}}</td>
<td>{{ms .Max}}</td></tr>{{end}}
{{with .Run}}<tr><td>on a worker</td><td>{{ms .P50}}</td><td>{{ms .P90}}</td><td>{{ms .P99}}</td><td>{{ms .Max}}</td></tr>{{end}}
</table>
<table>
<tr><th>starts</th><th>failed</th><th>restarts</th><th>ends by reason</th></tr>
{{with .Starts}}<tr><td>{{.Ready}}</td><td>{{.Failed}}</td><td>{{.Restarts}}</td>
<td>{{range $reason, $n := .Ends}}{{$reason}}: {{$n}} {{end}}</td></tr>{{end}}
</table>
<table>
<tr><th>time</th><th>event</th></tr>
{{range .Events}}<tr><td>{{clock .Time}}</td><td>{{.Text}}</td></tr>
{{end}}</table>
</body>
</html>
`))
