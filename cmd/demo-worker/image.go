package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif" // a format that is read
	"image/jpeg"
	"image/png"
	"io"
	"os"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/transport"
)

// thumbnail makes an image smaller.
func thumbnail(ctx context.Context, req api.ThumbnailRequest) (api.ImageReply, error) {
	if err := checkThumbnail(req); err != nil {
		return api.ImageReply{}, err
	}
	source, format, err := decode(ctx, req.Image)
	if err != nil {
		return api.ImageReply{}, err
	}
	width, height := fit(source.Rect.Dx(), source.Rect.Dy(), req.Width, req.Height)
	small, err := shrink(ctx, source, width, height)
	if err != nil {
		return api.ImageReply{}, err
	}
	return encode(small, cmp.Or(req.Format, format))
}

// checkThumbnail refuses what can be refused without a look at the image.
func checkThumbnail(req api.ThumbnailRequest) error {
	switch {
	case len(req.Image) == 0:
		return invalid("there is no image")
	case len(req.Image) > api.MaxImage:
		return invalid("the image has %d bytes, limit %d", len(req.Image), api.MaxImage)
	case req.Width < 0 || req.Height < 0 || req.Width == 0 && req.Height == 0:
		return invalid("the width of %d and the height of %d leave nothing: at least one has to be more than 0", req.Width, req.Height)
	case req.Width > api.MaxSide || req.Height > api.MaxSide:
		return invalid("%d by %d is too big, limit %d by %d", req.Width, req.Height, api.MaxSide, api.MaxSide)
	case req.Format != "" && req.Format != api.FormatPNG && req.Format != api.FormatJPEG:
		return invalid("format %q: it has to be %s or %s", req.Format, api.FormatPNG, api.FormatJPEG)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return transport.Errorf(transport.CodeInvalid, format, args...)
}

// maxSourceSide is how many pixels wide and high an image is at most that is read: what JPEG and GIF can have.
const maxSourceSide = 1<<16 - 1

// decode returns an image and the format for what is made of it. Its size is looked at before anything is unpacked, so
// that a few bytes can't take much memory.
func decode(ctx context.Context, data []byte) (*image.RGBA, string, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, "", invalid("the image can't be read as PNG, JPEG or GIF: %w", err)
	}
	width, height := config.Width, config.Height
	if width < 1 || height < 1 || max(width, height) > maxSourceSide || width > api.MaxPixels/height {
		return nil, "", invalid("the image is %d by %d, limit %d pixels and %d on a side", width, height, api.MaxPixels, maxSourceSide)
	}
	decoded, _, err := image.Decode(&patientReader{ctx, bytes.NewReader(data)})
	switch {
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case err != nil:
		return nil, "", invalid("the image is broken: %w", err)
	case decoded.Bounds().Empty():
		return nil, "", invalid("the image has no pixels")
	}
	if format != api.FormatJPEG {
		format = api.FormatPNG
	}
	return toRGBA(decoded), format, nil
}

// patientReader reads for as long as somebody waits for the result, so that decoding ends when nobody does.
type patientReader struct {
	ctx    context.Context // of the call; a decoder takes none
	reader io.Reader
}

func (r *patientReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.reader.Read(p)
}

// toRGBA returns an image whose pixels lie side by side, with the origin in its corner.
func toRGBA(m image.Image) *image.RGBA {
	bounds := m.Bounds()
	rgba := image.NewRGBA(image.Rect(0, 0, bounds.Dx(), bounds.Dy()))
	draw.Draw(rgba, rgba.Rect, m, bounds.Min, draw.Src)
	return rgba
}

// jpegQuality is that of JPEGs that are made.
const jpegQuality = 85

// encode returns an image in a format.
func encode(m *image.RGBA, format string) (api.ImageReply, error) {
	var out bytes.Buffer
	var err error
	if format == api.FormatJPEG {
		err = jpeg.Encode(&out, m, &jpeg.Options{Quality: jpegQuality})
	} else {
		err = png.Encode(&out, m)
	}
	if err != nil {
		return api.ImageReply{}, fmt.Errorf("encode the result as %s: %w", format, err)
	}
	return api.ImageReply{
		Image: out.Bytes(), Format: format, Width: m.Rect.Dx(), Height: m.Rect.Dy(), Pid: os.Getpid(),
	}, nil
}
