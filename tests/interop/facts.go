package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/archive/tar"
)

// tarFacts is what `facts` prints. A tar that the reference refuses has an error where the value would be.
type tarFacts struct {
	Size    int           `json:"size"`
	DiffID  digest.Digest `json:"diff_id"`
	Members []member      `json:"members"`
	// ReadError is why archive/tar stopped before the end of the archive.
	ReadError string `json:"read_error,omitempty"`
	// WriteError is why the compressor refused the tar; TOC and TarSplit are absent then.
	WriteError string            `json:"write_error,omitempty"`
	TOC        json.RawMessage   `json:"toc,omitempty"`
	TarSplit   []json.RawMessage `json:"tar_split,omitempty"`
	// Faithful says whether the blob decompresses to the tar, byte for byte; the reference does not look.
	Faithful bool `json:"faithful"`
	// TarSplitDigest is of the decompressed lines.
	TarSplitDigest digest.Digest `json:"tar_split_digest,omitempty"`
}

// member is one header as archive/tar reads it. Names are bytes, since not every name is UTF-8.
type member struct {
	Type     string            `json:"type"`
	Name     []byte            `json:"name"`
	LinkName []byte            `json:"link_name,omitempty"`
	Size     int64             `json:"size"`
	Mode     int64             `json:"mode"`
	UID      int               `json:"uid"`
	GID      int               `json:"gid"`
	ModTime  string            `json:"mod_time"`
	Access   string            `json:"access_time,omitempty"`
	Change   string            `json:"change_time,omitempty"`
	DevMajor int64             `json:"dev_major,omitempty"`
	DevMinor int64             `json:"dev_minor,omitempty"`
	Records  map[string][]byte `json:"pax_records,omitempty"`
	// Raw is the length of the bytes between the previous payload and this one: padding and headers.
	Raw int `json:"raw"`
	// Payload is the digest of what archive/tar gives as the member's content.
	Payload digest.Digest `json:"payload,omitempty"`
}

// facts TAR: what the reference reads in a tar.
func facts(arguments []string) (any, error) {
	if len(arguments) != 1 {
		return nil, errUsage
	}
	return readFacts(arguments[0])
}

func readFacts(path string) (*tarFacts, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	result := &tarFacts{Size: len(content), DiffID: digest.FromBytes(content)}
	var readError error
	result.Members, readError = readMembers(content)
	if readError != nil {
		result.ReadError = readError.Error()
	}
	if claimed := result.claimed(); claimed > bound {
		result.WriteError = fmt.Sprintf("not asked to write %d bytes of content", claimed)
		return result, nil
	}
	writing := make(chan error, 1)
	go func() { writing <- result.writeAndRead(content) }()
	select {
	case err := <-writing:
		if err != nil {
			result.WriteError = err.Error()
		}
		return result, nil
	case <-time.After(patience):
		// The goroutine goes on, so what it may still touch is left behind.
		return &tarFacts{
			Size: result.Size, DiffID: result.DiffID, Members: result.Members, ReadError: result.ReadError,
			WriteError: fmt.Sprintf("the compressor had not ended after %s", patience),
		}, nil
	}
}

// patience is how long the compressor may take. It loops for ever on a payload that is declared larger than any archive.
const patience = 10 * time.Second

// bound is how much content the reference is asked to read or write. Beyond it are only holes, which it would spell out, and archives that are
// far shorter than they say, on which its compressor loops for ever.
const bound = 256 << 20

// claimed is the largest content that a member claims to have.
func (f *tarFacts) claimed() int64 {
	largest := int64(0)
	for _, member := range f.Members {
		largest = max(largest, member.Size)
	}
	return largest
}

// readMembers walks a tar as the reference does, with raw accounting.
func readMembers(content []byte) ([]member, error) {
	reader := tar.NewReader(bytes.NewReader(content))
	reader.RawAccounting = true
	members := []member{}
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return members, nil
		}
		if err != nil {
			return members, fmt.Errorf("after %d members: %w", len(members), err)
		}
		entry := describe(header)
		entry.Raw = len(reader.RawBytes())
		if header.Size <= bound {
			hash := digest.Canonical.Digester()
			length, err := io.Copy(hash.Hash(), reader)
			if err != nil {
				return append(members, entry), fmt.Errorf("payload of member %d: %w", len(members), err)
			}
			if length > 0 {
				entry.Payload = hash.Digest()
			}
		}
		members = append(members, entry)
	}
}

func describe(header *tar.Header) member {
	entry := member{
		Type: string(rune(header.Typeflag)), Name: []byte(header.Name), LinkName: []byte(header.Linkname),
		Size: header.Size, Mode: header.Mode, UID: header.Uid, GID: header.Gid,
		ModTime: stamp(header.ModTime), Access: stamp(header.AccessTime), Change: stamp(header.ChangeTime),
		DevMajor: header.Devmajor, DevMinor: header.Devminor,
	}
	if len(header.PAXRecords) > 0 {
		entry.Records = map[string][]byte{}
		for key, value := range header.PAXRecords {
			entry.Records[key] = []byte(value)
		}
	}
	return entry
}

func stamp(moment time.Time) string {
	if moment.IsZero() {
		return ""
	}
	return moment.UTC().Format(time.RFC3339Nano)
}

// writeAndRead runs the compressor over the tar and takes the metadata out of its blob.
func (f *tarFacts) writeAndRead(content []byte) error {
	var blob bytes.Buffer
	result, err := compress(bytes.NewReader(content), &blob, nil)
	if err != nil {
		return err
	}
	found, err := readMetadata(bytes.NewReader(blob.Bytes()), result.Annotations)
	if err != nil {
		return err
	}
	decoder, err := zstd.NewReader(&blob)
	if err != nil {
		return err
	}
	defer decoder.Close()
	// The skippable frames at the end decompress to nothing.
	rebuilt, err := digest.FromReader(decoder)
	if err != nil {
		return fmt.Errorf("decompressing the reference's blob: %w", err)
	}
	f.Faithful = rebuilt == f.DiffID
	f.TOC = found.toc
	f.TarSplitDigest = digest.FromBytes(found.tarSplit)
	for line := range bytes.Lines(found.tarSplit) {
		f.TarSplit = append(f.TarSplit, json.RawMessage(line))
	}
	return nil
}
