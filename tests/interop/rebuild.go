package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
)

// rebuilt is the tar that a blob's metadata gives back.
type rebuilt struct {
	DiffID digest.Digest `json:"diff_id"`
	// Files is how many payloads were put in, Frames of how many frames they were made.
	Files  int `json:"files"`
	Frames int `json:"frames"`
}

// tocFile is what a TOC entry says of where its payload lies.
type tocFile struct {
	Type        string        `json:"type"`
	Name        string        `json:"name"`
	Size        int64         `json:"size"`
	Digest      digest.Digest `json:"digest"`
	Offset      int64         `json:"offset"`
	EndOffset   int64         `json:"endOffset"`
	ChunkSize   int64         `json:"chunkSize"`
	ChunkOffset int64         `json:"chunkOffset"`
	ChunkDigest digest.Digest `json:"chunkDigest"`
}

// rebuild puts a blob's tar together as the reference does: tar-split's own assembler, given each payload as the TOC's frames have it. The
// assembler checks every CRC; every digest of a frame and of a file is checked here.
func rebuild(path string, annotations map[string]string) (*rebuilt, error) {
	blob, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	found, err := readMetadata(blob, annotations)
	if err != nil {
		return nil, err
	}
	var toc struct {
		Entries []tocFile `json:"entries"`
	}
	if err := json.Unmarshal(found.toc, &toc); err != nil {
		return nil, err
	}
	getter := &frames{blob: blob, files: map[string][]tocFile{}}
	for i, entry := range toc.Entries {
		if entry.Type != "reg" || entry.Size == 0 {
			continue
		}
		pieces := toc.Entries[i : i+1]
		for end := i + 1; end < len(toc.Entries) && toc.Entries[end].Type == "chunk"; end++ {
			pieces = toc.Entries[i : end+1]
		}
		getter.files[entry.Name] = pieces
	}
	hash := digest.Canonical.Digester()
	if err := asm.WriteOutputTarStream(getter, storage.NewJSONUnpacker(bytes.NewReader(found.tarSplit)), hash.Hash()); err != nil {
		return nil, err
	}
	return &rebuilt{hash.Digest(), getter.asked, getter.decompressed}, nil
}

// frames gives payloads to tar-split's assembler.
type frames struct {
	blob                io.ReaderAt
	files               map[string][]tocFile
	asked, decompressed int
}

// Get implements storage.FileGetter.
func (f *frames) Get(name string) (io.ReadCloser, error) {
	pieces, ok := f.files[name]
	if !ok {
		return nil, fmt.Errorf("the TOC has no payload of %q", name)
	}
	f.asked++
	payload := []byte{}
	for i, piece := range pieces {
		end := pieces[0].EndOffset
		if i+1 < len(pieces) {
			end = pieces[i+1].Offset
		}
		content, err := f.frame(piece.Offset, end)
		if err != nil {
			return nil, fmt.Errorf("frame %d of %q: %w", i, name, err)
		}
		if piece.ChunkOffset != int64(len(payload)) || len(pieces) > 1 && piece.ChunkSize != int64(len(content)) {
			return nil, fmt.Errorf("frame %d of %q holds bytes %d to %d of it, the TOC says %d and %d more", i, name, len(payload), len(payload)+len(content), piece.ChunkOffset, piece.ChunkSize)
		}
		if len(pieces) > 1 && digest.FromBytes(content) != piece.ChunkDigest {
			return nil, fmt.Errorf("frame %d of %q has another digest than the TOC says", i, name)
		}
		payload = append(payload, content...)
	}
	if digest.FromBytes(payload) != pieces[0].Digest || int64(len(payload)) != pieces[0].Size {
		return nil, fmt.Errorf("%q has another digest or size than the TOC says", name)
	}
	return io.NopCloser(bytes.NewReader(payload)), nil
}

// frame decompresses the bytes of the blob between two offsets, which must be a frame that stands alone.
func (f *frames) frame(start, end int64) ([]byte, error) {
	if start < 0 || end <= start {
		return nil, fmt.Errorf("no frame from byte %d to byte %d", start, end)
	}
	decoder, err := zstd.NewReader(io.NewSectionReader(f.blob, start, end-start), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	f.decompressed++
	return io.ReadAll(decoder)
}
