// Writes blobs with containers/storage 1.47.0.
module past

go 1.26.0

require (
	github.com/containers/storage v1.47.0 // indirect
	github.com/json-iterator/go v1.1.12 // indirect
	github.com/klauspost/compress v1.16.6 // indirect
	github.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect
	github.com/modern-go/reflect2 v1.0.2 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/vbatts/tar-split v0.11.3 // indirect
	golang.org/x/sys v0.9.0 // indirect
)
