// Package counter is what the worker of the guide does. It knows nothing of workers, so that the tool can do it itself.
package counter

import (
	"context"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/detached-workers/unref/integration/docs_guide/api"
)

// Counter counts words and remembers the files that it has read. It is safe for concurrent use, as a worker has to be:
// several runs of the tool may call it at once.
type Counter struct {
	Settings api.Settings // must not be changed after first use

	mu    sync.Mutex // protects files, and is held for a whole count
	files map[string]known
}

// known is a file that was read.
type known struct {
	size    int64
	changed time.Time
	words   int
}

// Count answers [api.Count].
func (c *Counter) Count(ctx context.Context, req api.CountRequest) (reply api.CountReply, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	paths, err := filepath.Glob(filepath.Join(req.Dir, "*.txt"))
	for _, path := range paths {
		if ctx.Err() != nil { // the caller has gone, or its time is up
			return reply, ctx.Err()
		}
		words, read, err := c.file(path)
		if err != nil {
			return reply, err
		}
		reply.Words += words
		reply.Files++
		if read {
			reply.Read++
		}
	}
	log.Println("counted", req.Dir) // arrives in the logs of everybody who is attached
	return reply, err
}

// file returns the words of a file, and whether it had to be read.
func (c *Counter) file(path string) (words int, read bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false, err
	}
	if f, ok := c.files[path]; ok && f.size == info.Size() && f.changed.Equal(info.ModTime()) {
		return f.words, false, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false, err
	}
	c.remember(path, info, c.words(string(text)))
	return c.files[path].words, true, nil
}

func (c *Counter) remember(path string, info fs.FileInfo, words int) {
	if c.files == nil {
		c.files = make(map[string]known)
	}
	c.files[path] = known{info.Size(), info.ModTime(), words}
}

func (c *Counter) words(text string) (n int) {
	for word := range strings.FieldsSeq(text) {
		if len(word) >= c.Settings.MinLength {
			n++
		}
	}
	return n
}
