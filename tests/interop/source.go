package main

import (
	"io"
	"os"

	"go.podman.io/storage/pkg/chunked"
)

// asked counts what a reader asked a source for.
type asked struct {
	Requests int   `json:"requests"`
	Ranges   int   `json:"ranges"`
	Bytes    int64 `json:"bytes"`
}

func (a asked) minus(b asked) asked {
	return asked{a.Requests - b.Requests, a.Ranges - b.Ranges, a.Bytes - b.Bytes}
}

// countingSource serves ranges of a local blob and counts them; it stands where podman has a registry.
type countingSource struct {
	blob  *os.File
	total asked
}

var _ chunked.ImageSourceSeekable = (*countingSource)(nil)

// GetBlobAt implements chunked.ImageSourceSeekable: one stream per range, in order.
func (s *countingSource) GetBlobAt(ranges []chunked.ImageSourceChunk) (chan io.ReadCloser, chan error, error) {
	s.total.Requests++
	for _, r := range ranges {
		s.total.Ranges++
		s.total.Bytes += int64(r.Length)
	}
	streams, errs := make(chan io.ReadCloser), make(chan error)
	go func() {
		for _, r := range ranges {
			stream := &waitedReader{Reader: io.NewSectionReader(s.blob, int64(r.Offset), int64(r.Length)), closed: make(chan struct{})}
			streams <- stream
			<-stream.closed // as on a wire, the next part comes when this one has been read
		}
		close(streams)
		close(errs)
	}()
	return streams, errs, nil
}

// waitedReader tells when it has been closed.
type waitedReader struct {
	io.Reader
	closed chan struct{}
}

func (r *waitedReader) Close() error {
	close(r.closed)
	return nil
}
