package main

import (
	"context"
	"image"
)

// fit returns the size of an image that was made to fit into maxWidth by maxHeight, of which zero means any. It keeps
// its ratio as well as whole pixels allow, and has one pixel at least.
func fit(width, height, maxWidth, maxHeight int) (int, int) {
	w, h := width, height
	if maxWidth > 0 && w > maxWidth {
		w, h = maxWidth, scaled(height, maxWidth, width)
	}
	if maxHeight > 0 && h > maxHeight {
		w, h = scaled(width, maxHeight, height), maxHeight
	}
	return w, h
}

// scaled returns side * to / from, rounded, and 1 at least.
func scaled(side, to, from int) int { return max(1, (side*to+from/2)/from) }

// channels are those of a pixel.
const channels = 4

// span is the pixels in a line that become one: those from first on, each with its weight. The weights add up to 1.
type span struct {
	first   int
	weights []float32
}

// spans returns the pixels that each of to pixels is made of in a line of from: those that it covers, weighted with how
// much of each it does.
func spans(from, to int) []span {
	list := make([]span, to)
	for i := range list {
		begin, end := i*from, (i+1)*from // in parts of a pixel, to to each
		first := begin / to
		for j := first; j*to < end; j++ {
			covered := min(end, (j+1)*to) - max(begin, j*to)
			list[i].weights = append(list[i].weights, float32(covered)/float32(from))
		}
		list[i].first = first
	}
	return list
}

// shrink returns the image with another size: each pixel is the mean of the area that it covers. A RGBA image has its
// colours multiplied with the opacity, so that what is transparent has no colour to give.
func shrink(ctx context.Context, m *image.RGBA, width, height int) (*image.RGBA, error) {
	columns := spans(m.Rect.Dx(), width)
	rows := spans(m.Rect.Dy(), height)
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	line := make([]float32, width*channels)
	for y, row := range rows {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		clear(line)
		for i, weight := range row.weights {
			addLine(line, m.Pix[(row.first+i)*m.Stride:], columns, weight)
		}
		out := small.Pix[y*small.Stride:]
		for i, v := range line {
			out[i] = uint8(min(v+0.5, 255))
		}
	}
	return small, nil
}

// addLine adds a line of pixels, made as long as there are columns, to sum.
func addLine(sum []float32, pix []uint8, columns []span, weight float32) {
	for x, column := range columns {
		var r, g, b, a float32
		at := column.first * channels
		for _, w := range column.weights {
			p := pix[at : at+channels : at+channels]
			r += w * float32(p[0])
			g += w * float32(p[1])
			b += w * float32(p[2])
			a += w * float32(p[3])
			at += channels
		}
		s := sum[x*channels : x*channels+channels : x*channels+channels]
		s[0] += weight * r
		s[1] += weight * g
		s[2] += weight * b
		s[3] += weight * a
	}
}
