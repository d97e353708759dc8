package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"strings"
	"testing"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/transport"
)

// picture returns an image with a pattern, which does not begin at the origin.
func picture(width, height int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(7, 5, 7+width, 5+height))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 7)
	}
	return m
}

func pngOf(t *testing.T, m image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAThumbnailFitsAndKeepsTheRatio(t *testing.T) {
	for _, c := range []struct{ width, height, maxWidth, maxHeight, wantWidth, wantHeight int }{
		{400, 300, 200, 0, 200, 150},
		{400, 300, 0, 100, 133, 100},
		{400, 300, 200, 100, 133, 100},
		{400, 300, 100, 200, 100, 75},
		{400, 300, 1000, 1000, 400, 300},
		{1000, 1, 10, 0, 10, 1},
		{1, 1000, 0, 10, 1, 10},
		{65535, 3, 4096, 0, 4096, 1},
	} {
		if w, h := fit(c.width, c.height, c.maxWidth, c.maxHeight); w != c.wantWidth || h != c.wantHeight {
			t.Errorf("%v: got %d by %d", c, w, h)
		}
	}
}

func TestEachPixelIsTheMeanOfItsArea(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 3, 2))
	for i, v := range []uint8{0, 60, 120, 30, 90, 150} {
		m.SetRGBA(i%3, i/3, color.RGBA{v, 100, 255 - v, 255})
	}
	small, err := shrink(t.Context(), m, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	// The column in the middle is half of either pixel: (0 + 30 + (60+90)/2) / 3 and (120 + 150 + (60+90)/2) / 3.
	want := []color.RGBA{{35, 100, 220, 255}, {115, 100, 140, 255}}
	if got := []color.RGBA{small.RGBAAt(0, 0), small.RGBAAt(1, 0)}; got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheWeightsOfAPixelAddUpToOne(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {7, 3}, {1600, 199}, {65535, 4096}} {
		next := 0
		for i, s := range spans(c[0], c[1]) {
			sum := float32(0)
			for _, w := range s.weights {
				sum += w
			}
			if sum < 0.999 || sum > 1.001 || s.first > next || s.first+len(s.weights) > c[0] {
				t.Fatalf("%d to %d: pixel %d is made of %v", c[0], c[1], i, s)
			}
			next = s.first + len(s.weights)
		}
		if next != c[0] {
			t.Errorf("%d to %d: only %d are used", c[0], c[1], next)
		}
	}
}

func TestWhatIsTransparentGivesNoColour(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	m.SetNRGBA(0, 0, color.NRGBA{255, 0, 0, 0})
	m.SetNRGBA(1, 0, color.NRGBA{0, 0, 255, 255})
	small, err := shrink(t.Context(), toRGBA(m), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := color.NRGBAModel.Convert(small.At(0, 0)), (color.NRGBA{0, 0, 255, 128}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAnImageThatIsSmallEnoughStaysAsItIs(t *testing.T) {
	source := toRGBA(picture(5, 4))
	for i := 3; i < len(source.Pix); i += channels {
		source.Pix[i] = 255 // the format keeps other colours of what is half transparent
	}
	reply, err := thumbnail(t.Context(), api.ThumbnailRequest{Image: pngOf(t, source), Width: 5})
	if err != nil {
		t.Fatal(err)
	}
	got, err := png.Decode(bytes.NewReader(reply.Image))
	if err != nil || !bytes.Equal(toRGBA(got).Pix, source.Pix) {
		t.Errorf("it has changed (%v)", err)
	}
}

func TestAThumbnailIsInTheFormatOfItsImage(t *testing.T) {
	var asJPEG, asGIF bytes.Buffer
	if err := errors.Join(jpeg.Encode(&asJPEG, picture(40, 30), nil), gif.Encode(&asGIF, picture(40, 30), nil)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		image        []byte
		format, want string
	}{
		{pngOf(t, picture(40, 30)), "", api.FormatPNG},
		{asJPEG.Bytes(), "", api.FormatJPEG},
		{asGIF.Bytes(), "", api.FormatPNG},
		{asGIF.Bytes(), api.FormatJPEG, api.FormatJPEG},
	} {
		reply, err := thumbnail(t.Context(), api.ThumbnailRequest{Image: c.image, Width: 20, Format: c.format})
		if err != nil {
			t.Fatal(err)
		}
		config, format, err := image.DecodeConfig(bytes.NewReader(reply.Image))
		if err != nil || format != c.want || reply.Format != c.want || config.Width != 20 || config.Height != 15 {
			t.Errorf("got %s of %d by %d (%v), want %s", format, config.Width, config.Height, err, c.want)
		}
		if reply.Width != 20 || reply.Height != 15 || reply.Pid != os.Getpid() {
			t.Errorf("the reply says %d by %d, pid %d", reply.Width, reply.Height, reply.Pid)
		}
	}
}

func TestASampleIsAnImageThatIsTheSameEveryTime(t *testing.T) {
	first, err := sample(t.Context(), api.SampleRequest{Width: 80, Height: 60})
	if err != nil {
		t.Fatal(err)
	}
	second, err := sample(t.Context(), api.SampleRequest{Width: 80, Height: 60})
	if err != nil || !bytes.Equal(first.Image, second.Image) {
		t.Errorf("the second one differs (%v)", err)
	}
	m, err := png.Decode(bytes.NewReader(first.Image))
	if err != nil || m.Bounds().Dx() != 80 || m.Bounds().Dy() != 60 {
		t.Fatalf("got %v", err)
	}
	colours := make(map[color.Color]bool)
	for x := range 80 {
		colours[m.At(x, 30)] = true
	}
	if len(colours) < 10 {
		t.Errorf("a line of it has only %d colours", len(colours))
	}
}

// header returns a PNG that says it is of a size and has nothing more.
func header(width, height uint32) []byte {
	data := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	data = binary.BigEndian.AppendUint32(data, width)
	data = binary.BigEndian.AppendUint32(data, height)
	data = append(data, 8, 6, 0, 0, 0)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data[12:]))
}

func TestAnUnusableImageIsInvalid(t *testing.T) {
	whole := pngOf(t, picture(40, 30))
	for why, req := range map[string]api.ThumbnailRequest{
		"there is no image":                  {Width: 1},
		"at least one has to be more than 0": {Image: whole},
		"width of -1":                        {Image: whole, Width: -1, Height: 1},
		"4097 by 0 is too big":               {Image: whole, Width: api.MaxSide + 1},
		"0 by 4097 is too big":               {Image: whole, Height: api.MaxSide + 1},
		`format "webp"`:                      {Image: whole, Width: 1, Format: "webp"},
		"has 12582913 bytes":                 {Image: make([]byte, api.MaxImage+1), Width: 1},
		"can't be read as PNG":               {Image: []byte("hello"), Width: 1},
		"is broken":                          {Image: whole[:len(whole)/2], Width: 1},
		"is 60000 by 60000, limit":           {Image: header(60000, 60000), Width: 1},
		"is 2147483647 by 1, limit":          {Image: header(1<<31-1, 1), Width: 1},
	} {
		reply, err := thumbnail(t.Context(), req)
		if !errors.Is(err, transport.CodeInvalid) || !strings.Contains(err.Error(), why) || reply.Image != nil {
			t.Errorf("got %v, want one that says: %s", err, why)
		}
	}
	for _, req := range []api.SampleRequest{{Width: -1}, {Height: api.MaxSide + 1}, {Width: 4096, Height: 4096}} {
		if _, err := sample(t.Context(), req); !errors.Is(err, transport.CodeInvalid) {
			t.Errorf("sample of %v: got %v", req, err)
		}
	}
}

func TestMakingAnImageEndsWhenNobodyWaitsForIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := thumbnail(ctx, api.ThumbnailRequest{Image: pngOf(t, picture(40, 30)), Width: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("thumbnail: got %v", err)
	}
	if _, err := shrink(ctx, toRGBA(picture(4, 3)), 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("shrink: got %v", err)
	}
	if _, err := sample(ctx, api.SampleRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("sample: got %v", err)
	}
}

func BenchmarkThumbnailOfTheSample(b *testing.B) {
	source, err := sample(b.Context(), api.SampleRequest{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(source.Image)))
	for b.Loop() {
		if _, err := thumbnail(b.Context(), api.ThumbnailRequest{Image: source.Image, Width: 200}); err != nil {
			b.Fatal(err)
		}
	}
}
