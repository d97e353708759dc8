package lifecycle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// The Go linker puts the build id within the first bytes of an executable, at most buildIDSpan, on ELF systems mostly
// within buildIDNear.
const (
	buildIDNear = 8 << 10
	buildIDSpan = 64 << 10
)

var (
	elfMagic    = []byte("\x7fELF")
	elfNote     = []byte("\x04\x00\x00\x00Go\x00\x00") // type 4, and the name "Go"
	markerStart = []byte("\xff Go build ID: \"")
	markerEnd   = []byte("\"\n \xff")
)

// BuildID returns an identity of the executable at path that is derived from its content: "go:" and the Go build id, or
// "sha256:" and a hash of the whole file where there is none or it says nothing (some build systems set a constant).
func BuildID(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("build id: %w", err)
	}
	defer f.Close()
	var head []byte
	for _, span := range []int{buildIDNear, buildIDSpan} {
		more := make([]byte, span-len(head))
		n, err := io.ReadFull(f, more)
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			return "", fmt.Errorf("build id of %s: %w", path, err)
		}
		head = append(head, more[:n]...)
		if id := goBuildID(head); id != "" {
			return "go:" + id, nil
		}
	}
	hash := sha256.New()
	hash.Write(head)
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("build id of %s: %w", path, err)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// OwnBuildID is the [BuildID] of the executable that this process runs, on Linux also if its file was replaced or deleted.
func OwnBuildID() (string, error) { return BuildID(selfPath()) }

func goBuildID(head []byte) string {
	id := markedBuildID(head)
	if bytes.HasPrefix(head, elfMagic) {
		id = elfBuildID(head)
	}
	if !derived(id) {
		return ""
	}
	return id
}

// elfBuildID finds the note by its type and name; its size stands before them.
func elfBuildID(head []byte) string {
	i := bytes.Index(head, elfNote)
	if i < 4 {
		return ""
	}
	size := int(binary.LittleEndian.Uint32(head[i-4:]))
	rest := head[i+len(elfNote):]
	if size > len(rest) {
		return ""
	}
	return string(rest[:size])
}

func markedBuildID(head []byte) string {
	_, rest, ok := bytes.Cut(head, markerStart)
	if !ok {
		return ""
	}
	id, _, ok := bytes.Cut(rest, markerEnd)
	if !ok {
		return ""
	}
	return string(id)
}

// derived is whether a build id is one that the go command derived from what it built: hashes with slashes between them.
func derived(id string) bool {
	return len(id) >= 40 && strings.Count(id, "/") >= 1 && strings.IndexFunc(id, unprintable) < 0
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }
