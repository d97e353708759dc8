package api

import "github.com/detached-workers/unref/transport"

// The methods that make images: work for processors, which a server behind which there are workers gives to them.
const (
	// Thumbnail makes an image smaller.
	Thumbnail transport.Method[ThumbnailRequest, ImageReply] = "thumbnail"
	// Sample draws an image: a part of the Mandelbrot set, the same one every time.
	Sample transport.Method[SampleRequest, ImageReply] = "sample"
)

// The limits of images. What is beyond them is refused as invalid.
const (
	// MaxImage is how many bytes an encoded image has at most, below what a message may have.
	MaxImage = 12 << 20
	// MaxPixels is how many pixels an image that is decoded or drawn has at most.
	MaxPixels = 16 << 20
	// MaxSide is how many pixels wide and high an image is at most that is made.
	MaxSide = 4096
)

// The formats of images that are made. GIF is read besides.
const (
	FormatPNG  = "png"
	FormatJPEG = "jpeg"
)

// ThumbnailRequest says which image [Thumbnail] makes smaller, and how small. It keeps the ratio of its sides, and is
// never made bigger than it is.
type ThumbnailRequest struct {
	// Image is the image as PNG, JPEG or GIF, of which the first frame counts. At most [MaxImage] bytes and [MaxPixels].
	Image []byte
	// Width and Height are what the result has to fit into. Zero means any; one of them has to be more.
	Width  int
	Height int
	// Format is what the result is encoded as. Empty means that of the image, and PNG for GIF.
	Format string
}

// SampleRequest says how big the image is that [Sample] draws.
type SampleRequest struct {
	// Width and Height are its sides, of 4 million pixels at most in all. Zero
	// means 1200 and 900.
	Width  int
	Height int
}

// ImageReply is an image that was made.
type ImageReply struct {
	Image  []byte
	Format string
	Width  int
	Height int
	// Pid is that of the worker.
	Pid int
}
