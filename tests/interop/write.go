package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage/pkg/chunked/compressor"
)

// written is what `write` prints: the descriptor of the blob and the tar's digest.
type written struct {
	Digest      digest.Digest     `json:"digest"`
	Size        int64             `json:"size"`
	DiffID      digest.Digest     `json:"diff_id"`
	Annotations map[string]string `json:"annotations"`
}

// write TAR BLOB ANNOTATIONS [LEVEL]: writes the reference's blob of a tar and the annotations of its descriptor.
func write(arguments []string) (any, error) {
	if len(arguments) != 3 && len(arguments) != 4 {
		return nil, errUsage
	}
	var level *int
	if len(arguments) == 4 {
		number, err := strconv.Atoi(arguments[3])
		if err != nil {
			return nil, fmt.Errorf("level %q: %w", arguments[3], err)
		}
		level = &number
	}
	result, err := writeBlob(arguments[0], arguments[1], level)
	if err != nil {
		return nil, err
	}
	annotations, err := json.MarshalIndent(result.Annotations, "", " ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(arguments[2], append(annotations, '\n'), 0o644); err != nil {
		return nil, err
	}
	return result, nil
}

// writeBlob has the compressor write the blob of a tar.
func writeBlob(tarPath, blobPath string, level *int) (*written, error) {
	tar, err := os.Open(tarPath)
	if err != nil {
		return nil, err
	}
	defer tar.Close()
	blob, err := os.Create(blobPath)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	result, err := compress(tar, blob, level)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", tarPath, err)
	}
	return result, blob.Close()
}

// compress runs the reference's compressor over a whole tar.
func compress(tar io.Reader, blob io.Writer, level *int) (*written, error) {
	result := &written{Annotations: map[string]string{}}
	blobDigest, tarDigest := digest.Canonical.Digester(), digest.Canonical.Digester()
	counter := &countingWriter{to: io.MultiWriter(blob, blobDigest.Hash())}
	writer, err := compressor.ZstdCompressor(counter, result.Annotations, level)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(writer, io.TeeReader(tar, tarDigest.Hash())); err != nil {
		_ = writer.Close()
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	result.Digest, result.DiffID, result.Size = blobDigest.Digest(), tarDigest.Digest(), counter.count
	return result, nil
}

// countingWriter counts what passes.
type countingWriter struct {
	to    io.Writer
	count int64
}

func (w *countingWriter) Write(data []byte) (int, error) {
	n, err := w.to.Write(data)
	w.count += int64(n)
	return n, err
}
