package lifecycle

import (
	"bytes"
	"os"
)

// maxText is the longest text line that is delivered in one piece.
const maxText = 64 << 10

// Line is a piece of a worker's output: exactly one of an entry, a line of text, or a loss.
type Line struct {
	// Entry is a log entry, nil if the line is none.
	Entry *Entry
	// Text is a line without its newline. A line of more than 64 KiB comes in pieces. Invalid UTF-8 is kept as it is.
	Text string
	// Lost is how many bytes were lost here. If the spool was truncated by force it is at least 1 and stands for an
	// unknown number.
	Lost int64
}

// source is what an OutputReader reads. Its reads do not depend on each other.
type source interface {
	ReadAt(p []byte, off int64) (int, error)
	// Size returns the logical size.
	Size() (int64, error)
	// Data returns the first offset at or after off that still holds data.
	Data(off int64) int64
}

// OutputReader reads a worker's spool line by line, while it grows and after its writers have gone. The spool is bounded:
// what is older than some megabytes is dropped from its beginning, and a reader that is too slow learns how much it
// lost. An OutputReader is not safe for concurrent use; several readers of one spool do not disturb each other.
type OutputReader struct {
	src source
	off int64 // of the next byte to read

	pend     []byte // bytes read and not yet delivered
	queue    []Line // lines found and not yet delivered; they come before lost and pend
	lost     int64  // bytes lost before pend
	skipping bool   // pend begins inside a line whose beginning was lost
	quiet    bool   // what is being skipped was left out on purpose: it does not count as lost
}

// NewOutputReader reads the spool f from its beginning, or from what is left of it. It does not use the file's offset,
// and does not close f.
func NewOutputReader(f *os.File) *OutputReader {
	return &OutputReader{src: spoolSource{f}}
}

// Skip moves on to the first line that begins within the newest keep bytes. What it leaves out does not count as lost.
func (r *OutputReader) Skip(keep int64) {
	size, err := r.src.Size()
	if err != nil || size-r.off <= keep {
		return
	}
	// One byte more, so that a line which begins exactly there is seen to begin.
	r.off = max(size-keep-1, 0)
	r.pend, r.queue, r.lost = nil, nil, 0
	r.skipping, r.quiet = true, true
}

// Next returns the next complete line if there is one. False means that there is nothing more now; an incomplete last
// line is held back until it is completed.
func (r *OutputReader) Next() (Line, bool) {
	for {
		if line, ok := r.take(); ok {
			return line, true
		}
		if !r.fill() {
			return Line{}, false
		}
	}
}

// Flush returns the incomplete rest as a line, piece by piece until it returns false. It is for the end: after the
// worker has gone and Next has returned false.
func (r *OutputReader) Flush() (Line, bool) {
	if line, ok := r.take(); ok {
		return line, true
	}
	if r.skipping {
		r.drop(len(r.pend))
		r.skipping, r.quiet = false, false
		return r.take()
	}
	if len(r.pend) > 0 {
		r.split(r.pend)
		r.pend = nil
	}
	return r.take()
}

// take delivers from what has been read.
func (r *OutputReader) take() (Line, bool) {
	if len(r.queue) == 0 {
		r.settle()
	}
	if len(r.queue) == 0 {
		return Line{}, false
	}
	line := r.queue[0]
	r.queue = r.queue[1:]
	return line, true
}

// settle moves the next line from pend to the queue, if it is complete.
func (r *OutputReader) settle() {
	if r.skipping && !r.skip() {
		return
	}
	if r.lost > 0 {
		r.queue = append(r.queue, Line{Lost: r.lost})
		r.lost = 0
		return
	}
	if len(r.pend) == 0 {
		return
	}
	if end := bytes.IndexByte(r.pend, '\n'); end >= 0 {
		r.split(r.pend[:end])
		r.pend = r.pend[end+1:]
		return
	}
	if r.certainText() > maxText {
		r.queue = append(r.queue, Line{Text: string(r.pend[:maxText])})
		r.pend = r.pend[maxText:]
	}
}

// skip drops the rest of a line whose beginning was lost, and returns whether its end was found.
func (r *OutputReader) skip() bool {
	end := bytes.IndexByte(r.pend, '\n')
	if end < 0 {
		r.drop(len(r.pend))
		return false
	}
	r.drop(end + 1)
	r.skipping, r.quiet = false, false
	return true
}

func (r *OutputReader) drop(n int) {
	if !r.quiet {
		r.lost += int64(n)
	}
	r.pend = r.pend[n:]
}

// certainText returns how much of an unfinished line is text whatever comes: what stands before the last RS, from
// where an entry may begin, or all of it if that is too long for an entry.
func (r *OutputReader) certainText() int {
	start := bytes.LastIndexByte(r.pend, recordStart)
	if start < 0 || len(r.pend)-start > maxEntry {
		return len(r.pend)
	}
	return start
}

// split queues what a line consists of: text, or an entry, or an entry that began in the middle of a line of text. An
// entry holds no raw RS, so that only the last one can begin it.
func (r *OutputReader) split(line []byte) {
	start := bytes.LastIndexByte(line, recordStart)
	if start >= 0 {
		if entry, ok := decodeEntry(line[start:]); ok {
			r.queueText(line[:start])
			r.queue = append(r.queue, Line{Entry: entry})
			return
		}
	}
	r.queueText(line)
	if len(line) == 0 {
		r.queue = append(r.queue, Line{})
	}
}

func (r *OutputReader) queueText(text []byte) {
	for len(text) > 0 {
		n := min(len(text), maxText)
		r.queue = append(r.queue, Line{Text: string(text[:n])})
		text = text[n:]
	}
}

// fill reads on and returns whether anything is new: bytes or a loss.
func (r *OutputReader) fill() bool {
	for {
		size, err := r.src.Size()
		if err != nil {
			return false
		}
		if size < r.off {
			r.restart()
			return true
		}
		if data := r.src.Data(r.off); data > r.off {
			r.jump(data)
			return true
		}
		chunk := make([]byte, min(size-r.off, maxText))
		n, _ := r.src.ReadAt(chunk, r.off)
		if n == 0 {
			return false
		}
		// What was dropped while it was read may have come as zeros. The spool is dropped from its beginning only:
		// if the first byte is still there, so was the rest.
		if r.src.Data(r.off) == r.off {
			r.pend = append(r.pend, chunk[:n]...)
			r.off += int64(n)
			return true
		}
	}
}

// restart goes on at the beginning of a spool that has been truncated.
func (r *OutputReader) restart() {
	r.cut()
	r.off = 0
	r.lost++
	r.skipping = false
}

// jump goes on behind a hole, at the next beginning of a line.
func (r *OutputReader) jump(to int64) {
	r.cut()
	if !r.quiet {
		r.lost += to - r.off
	}
	r.off = to
	r.skipping = true
}

// cut delivers what was read of a line whose rest is lost.
func (r *OutputReader) cut() {
	if r.skipping {
		r.drop(len(r.pend))
	} else if len(r.pend) > 0 {
		r.split(r.pend)
	}
	r.pend = nil
}
