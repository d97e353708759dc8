package main

import (
	"cmp"
	"context"
	"image"
	"math"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// The size of a sample whose size nobody names.
const (
	sampleWidth  = 1200
	sampleHeight = 900

	maxSample = 4 << 20 // pixels, which take some seconds and fit into a reply
)

// The part of the plane that a sample shows, and how long a point is followed.
const (
	centerX, centerY = -0.7453, 0.1127
	planeWidth       = 0.0065
	maxSteps         = 400
)

// sample draws a part of the Mandelbrot set.
func sample(ctx context.Context, req api.SampleRequest) (api.ImageReply, error) {
	width, height := cmp.Or(req.Width, sampleWidth), cmp.Or(req.Height, sampleHeight)
	if width < 1 || height < 1 || width > api.MaxSide || height > api.MaxSide {
		return api.ImageReply{}, invalid("%d by %d: each side has to be from 1 to %d", width, height, api.MaxSide)
	}
	if width*height > maxSample {
		return api.ImageReply{}, invalid("%d by %d: a sample has at most %d pixels", width, height, maxSample)
	}
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	scale := planeWidth / float64(width)
	for y := range height {
		if ctx.Err() != nil {
			return api.ImageReply{}, context.Cause(ctx)
		}
		line := m.Pix[y*m.Stride:]
		for x := range width {
			re := centerX + (float64(x)-float64(width)/2)*scale
			im := centerY + (float64(y)-float64(height)/2)*scale
			paint(line[x*channels:], escape(re, im))
		}
	}
	return encode(m, api.FormatPNG)
}

// escape returns after how many steps a point of the plane leaves, with what is between two of them, and -1 if it stays.
func escape(re, im float64) float64 {
	x, y := 0.0, 0.0
	for n := range maxSteps {
		xx, yy := x*x, y*y
		if xx+yy > 256 {
			return float64(n) + 1 - math.Log2(math.Log2(xx+yy)/2)
		}
		x, y = xx-yy+re, 2*x*y+im
	}
	return -1
}

// paint sets a pixel to the colour of a number of steps; black is what stays.
func paint(pixel []uint8, steps float64) {
	pixel[3] = 255
	if steps < 0 {
		return
	}
	for i, phase := range [...]float64{0, 0.6, 1.2} {
		pixel[i] = uint8(127.5 + 127*math.Sin(steps/9+phase))
	}
}
