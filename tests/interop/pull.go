package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	graphdriver "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/chunked"
)

// pulled is what `pull` prints of each layer.
type pulled struct {
	Blob string `json:"blob"`
	Size int64  `json:"size"`
	// Metadata is what was asked for before the reference looked into its store: the TOC and the tar-split.
	Metadata asked `json:"metadata"`
	// Payload is what was asked for after that.
	Payload asked `json:"payload"`
	Total   asked `json:"total"`
	// Export is the digest of the tar that the store gives back.
	Export digest.Digest `json:"export"`
}

// layer is a blob to pull and what its tar must hash to.
type layer struct {
	blob        string
	annotations map[string]string
	diffID      digest.Digest
	// first says that the layer is the lowest of an image.
	first bool
}

// pull STORE [--] (BLOB ANNOTATIONS DIFFID)…: partial pulls into a fresh overlay store; each layer's export must hash to its DIFFID.
func pull(arguments []string) (any, error) {
	if len(arguments) < 4 {
		return nil, errUsage
	}
	layers, err := readLayers(arguments[1:])
	if err != nil {
		return nil, err
	}
	store, err := openStore(arguments[0])
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = store.Shutdown(true) }()

	results := []pulled{}
	parent := ""
	for i, layer := range layers {
		if layer.first {
			parent = ""
		}
		id := digest.FromString(fmt.Sprintf("layer %d", i)).Encoded()
		result, err := pullLayer(store, layer, id, parent)
		if err != nil {
			if errors.As(err, &chunked.ErrFallbackToOrdinaryLayerDownload{}) {
				err = fmt.Errorf("podman would take the whole blob: %w", err)
			}
			return results, fmt.Errorf("layer %d, %s: %w", i, layer.blob, err)
		}
		results = append(results, result)
		parent = id
	}
	return results, nil
}

func readLayers(arguments []string) ([]layer, error) {
	layers := []layer{}
	first := true
	for len(arguments) > 0 {
		if arguments[0] == "--" {
			first, arguments = true, arguments[1:]
			continue
		}
		if len(arguments) < 3 {
			return nil, errUsage
		}
		annotations, err := readAnnotations(arguments[1])
		if err != nil {
			return nil, err
		}
		diffID, err := digest.Parse(arguments[2])
		if err != nil {
			return nil, fmt.Errorf("diff_id %q: %w", arguments[2], err)
		}
		layers = append(layers, layer{arguments[0], annotations, diffID, first})
		first, arguments = false, arguments[3:]
	}
	return layers, nil
}

// openStore makes an overlay store with partial pulls enabled, as storage.conf does with enable_partial_images.
func openStore(directory string) (storage.Store, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("an overlay store needs root: run this as root")
	}
	directory, err := filepath.Abs(directory)
	if err != nil {
		return nil, err
	}
	store, err := storage.GetStore(storage.StoreOptions{
		RunRoot:         filepath.Join(directory, "run"),
		GraphRoot:       filepath.Join(directory, "graph"),
		GraphDriverName: "overlay",
		PullOptions:     map[string]string{"enable_partial_images": "true"},
	})
	if err != nil {
		return nil, fmt.Errorf("making an overlay store in %s (put it on ext4, xfs or btrfs, and load the kernel's overlay module): %w", directory, err)
	}
	return store, nil
}

// pullLayer pulls one layer partially and exports it again.
func pullLayer(store storage.Store, layer layer, id, parent string) (pulled, error) {
	blob, err := os.Open(layer.blob)
	if err != nil {
		return pulled{}, err
	}
	defer blob.Close()
	info, err := blob.Stat()
	if err != nil {
		return pulled{}, err
	}
	blobDigest, err := digest.FromReader(blob)
	if err != nil {
		return pulled{}, err
	}
	source := &countingSource{blob: blob}

	differ, err := chunked.NewDiffer(context.Background(), store, blobDigest, info.Size(), layer.annotations, source)
	if err != nil {
		return pulled{}, fmt.Errorf("no partial pull: %w", err)
	}
	defer differ.Close()
	metadata := source.total
	if err := stage(store, differ, layer.diffID, id, parent); err != nil {
		return pulled{}, err
	}
	export, err := exported(store, id)
	if err != nil {
		return pulled{}, err
	}
	result := pulled{layer.blob, info.Size(), metadata, source.total.minus(metadata), source.total, export}
	if export != layer.diffID {
		return result, fmt.Errorf("its export hashes to %s, its diff_id is %s", export, layer.diffID)
	}
	return result, nil
}

// stage rebuilds the layer and commits it. The digest that the reference computed while doing so must already be the diff_id.
func stage(store storage.Store, differ graphdriver.Differ, diffID digest.Digest, id, parent string) error {
	output, err := store.PrepareStagedLayer(nil, differ)
	if err != nil {
		return fmt.Errorf("staging: %w", err)
	}
	if output.UncompressedDigest != diffID {
		return errors.Join(
			fmt.Errorf("the staged layer hashes to %q, its diff_id is %s", output.UncompressedDigest, diffID),
			store.CleanupStagedLayer(output),
		)
	}
	_, err = store.ApplyStagedLayer(storage.ApplyStagedLayerOptions{
		ID: id, ParentLayer: parent, DiffOutput: output, DiffOptions: &graphdriver.ApplyDiffWithDifferOpts{},
	})
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// exported hashes the tar that the store makes of a layer.
func exported(store storage.Store, id string) (digest.Digest, error) {
	uncompressed := archive.Uncompressed
	diff, err := store.Diff("", id, &storage.DiffOptions{Compression: &uncompressed})
	if err != nil {
		return "", fmt.Errorf("exporting: %w", err)
	}
	hash := digest.Canonical.Digester()
	_, err = io.Copy(hash.Hash(), diff)
	if closeErr := diff.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("exporting: %w", err)
	}
	return hash.Digest(), nil
}
