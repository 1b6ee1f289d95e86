package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

// tocResult is what `toc` prints.
type tocResult struct {
	TOCSize        int           `json:"toc_size"`
	TOCDigest      digest.Digest `json:"toc_digest"`
	TarSplitSize   int           `json:"tar_split_size"`
	TarSplitDigest digest.Digest `json:"tar_split_digest"`
}

// toc BLOB ANNOTATIONS DIR: puts the decompressed TOC and tar-split into DIR.
func toc(arguments []string) (any, error) {
	if len(arguments) != 3 {
		return nil, errUsage
	}
	blob, err := os.Open(arguments[0])
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	annotations, err := readAnnotations(arguments[1])
	if err != nil {
		return nil, err
	}
	found, err := readMetadata(blob, annotations)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arguments[0], err)
	}
	if err := os.MkdirAll(arguments[2], 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(arguments[2], "toc.json"), found.toc, 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(arguments[2], "tar-split.json"), found.tarSplit, 0o644); err != nil {
		return nil, err
	}
	return tocResult{
		TOCSize: len(found.toc), TOCDigest: digest.FromBytes(found.toc),
		TarSplitSize: len(found.tarSplit), TarSplitDigest: digest.FromBytes(found.tarSplit),
	}, nil
}

// readAnnotations reads a descriptor's annotations: a JSON object of strings.
func readAnnotations(path string) (map[string]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{}
	if err := json.Unmarshal(content, &annotations); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return annotations, nil
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
