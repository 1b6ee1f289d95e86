package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// The annotations' keys are internal to the reference's module, so they stand here again.
const (
	tocPosition      = "io.github.containers.zstd-chunked.manifest-position"
	tocChecksum      = "io.github.containers.zstd-chunked.manifest-checksum"
	tarSplitPosition = "io.github.containers.zstd-chunked.tarsplit-position"
)

// metadata is a blob's TOC and tar-split, decompressed.
type metadata struct {
	toc, tarSplit []byte
}

// readMetadata follows the annotations to the TOC and the tar-split. It checks the TOC's digest, so that a test never compares rubbish.
func readMetadata(blob io.ReaderAt, annotations map[string]string) (metadata, error) {
	compressed, toc, err := readPart(blob, annotations, tocPosition)
	if err != nil {
		return metadata{}, err
	}
	if found := digest.FromBytes(compressed).String(); found != annotations[tocChecksum] {
		return metadata{}, fmt.Errorf("the TOC's digest is %s, its annotation says %s", found, annotations[tocChecksum])
	}
	_, tarSplit, err := readPart(blob, annotations, tarSplitPosition)
	if err != nil {
		return metadata{}, err
	}
	return metadata{toc, tarSplit}, nil
}

// readPart reads the frame that a position annotation (offset:compressed:uncompressed[:type]) points at; it returns both its forms.
func readPart(blob io.ReaderAt, annotations map[string]string, key string) (compressed, content []byte, err error) {
	fields := strings.Split(annotations[key], ":")
	if len(fields) < 3 {
		return nil, nil, fmt.Errorf("annotation %s is %q", key, annotations[key])
	}
	var numbers [3]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return nil, nil, fmt.Errorf("annotation %s: %w", key, err)
		}
	}
	compressed = make([]byte, numbers[1])
	if _, err := blob.ReadAt(compressed, numbers[0]); err != nil {
		return nil, nil, fmt.Errorf("reading what %s points at: %w", key, err)
	}
	decoder, err := zstd.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, nil, err
	}
	defer decoder.Close()
	content, err = io.ReadAll(decoder)
	if err != nil {
		return nil, nil, fmt.Errorf("decompressing what %s points at: %w", key, err)
	}
	if int64(len(content)) != numbers[2] {
		return nil, nil, fmt.Errorf("annotation %s says %d bytes, %d came out", key, numbers[2], len(content))
	}
	return compressed, content, nil
}
