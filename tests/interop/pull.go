package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/storage"
	graphdriver "go.podman.io/storage/drivers"
	"go.podman.io/storage/pkg/archive"
	"go.podman.io/storage/pkg/chunked"
)

// pulled is what is told of each layer of a pull.
type pulled struct {
	Size int64 `json:"size"`
	// Metadata is what was asked for before the reference looked into its store: the TOC and the tar-split.
	Metadata asked `json:"metadata"`
	// Payload is what was asked for after that.
	Payload asked `json:"payload"`
	// Export is the digest of the tar that the store gives back.
	Export digest.Digest `json:"export"`
}

// layer is a blob to pull and what its tar must hash to.
type layer struct {
	Blob        string            `json:"blob"`
	Annotations map[string]string `json:"annotations"`
	DiffID      digest.Digest     `json:"diff_id"`
}

// stores are the stores that are open, by their folders.
type stores map[string]storage.Store

// pull pulls an image's layers in part, each upon the one before, into the store in a folder; each one's export must hash to its diff_id.
// Layers that are not kept are deleted again, so that the next pull finds nothing of them.
func (s stores) pull(directory string, layers []layer, keep bool) ([]pulled, error) {
	store, err := s.open(directory)
	if err != nil {
		return nil, err
	}
	results, made := []pulled{}, []string{}
	if !keep {
		defer func() {
			for i := range made {
				_ = store.DeleteLayer(made[len(made)-1-i])
			}
		}()
	}
	parent := ""
	for i, layer := range layers {
		id := digest.FromString(fmt.Sprint(time.Now().UnixNano(), layer)).Encoded()
		made = append(made, id)
		result, err := pullLayer(store, layer, id, parent)
		if err != nil {
			return results, fmt.Errorf("layer %d: %w", i, err)
		}
		results = append(results, result)
		parent = id
	}
	return results, nil
}

func (s stores) open(directory string) (storage.Store, error) {
	if store, ok := s[directory]; ok {
		return store, nil
	}
	store, err := openStore(directory)
	if err == nil {
		s[directory] = store
	}
	return store, err
}

func (s stores) shutdown() {
	for _, store := range s {
		_, _ = store.Shutdown(true)
	}
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
	blob, err := os.Open(layer.Blob)
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

	differ, err := chunked.NewDiffer(context.Background(), store, blobDigest, info.Size(), layer.Annotations, source)
	if err != nil {
		return pulled{}, fmt.Errorf("no partial pull: %w", err)
	}
	defer differ.Close()
	metadata := source.total
	if err := stage(store, differ, layer.DiffID, id, parent); err != nil {
		return pulled{}, err
	}
	export, err := exported(store, id)
	if err != nil {
		return pulled{}, err
	}
	result := pulled{info.Size(), metadata, source.total.minus(metadata), export}
	if export != layer.DiffID {
		return result, fmt.Errorf("its export hashes to %s, its diff_id is %s", export, layer.DiffID)
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
