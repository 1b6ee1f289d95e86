//go:build containers

package main

import reference "github.com/containers/storage/pkg/chunked/compressor"

// The module's name until version 1.59.
var compressor = reference.ZstdCompressor
