package main

import (
	"compress/bzip2"
	"compress/gzip"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
)

// decode unpacks a file of test data: .gz, .bz2, .base64, or as it is.
func decode(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	var content io.Reader = source
	switch filepath.Ext(from) {
	case ".gz":
		if content, err = gzip.NewReader(source); err != nil {
			return err
		}
	case ".bz2":
		content = bzip2.NewReader(source)
	case ".base64":
		content = base64.NewDecoder(base64.StdEncoding, source)
	}
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	defer target.Close()
	if _, err := io.Copy(target, content); err != nil {
		return err
	}
	return target.Close()
}

// writeEstargz has stargz-snapshotter's library make an eStargz blob of a tar.
func writeEstargz(tarPath, blobPath string) (*written, error) {
	tar, err := os.Open(tarPath)
	if err != nil {
		return nil, err
	}
	defer tar.Close()
	info, err := tar.Stat()
	if err != nil {
		return nil, err
	}
	made, err := estargz.Build(io.NewSectionReader(tar, 0, info.Size()))
	if err != nil {
		return nil, err
	}
	defer made.Close()
	blob, err := os.Create(blobPath)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	hash := digest.Canonical.Digester()
	size, err := io.Copy(io.MultiWriter(blob, hash.Hash()), made)
	if err != nil {
		return nil, err
	}
	return &written{hash.Digest(), size, made.DiffID(), map[string]string{estargz.TOCJSONDigestAnnotation: made.TOCDigest().String()}}, blob.Close()
}
