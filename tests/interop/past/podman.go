//go:build !containers

package main

import reference "go.podman.io/storage/pkg/chunked/compressor"

// The module's name since version 1.60.
var compressor = reference.ZstdCompressor
