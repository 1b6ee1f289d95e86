package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"go.podman.io/storage/pkg/chunked"
)

// request is one question; which fields count is the operation's matter.
type request struct {
	Operation string `json:"op"`
	// Tar, Blob: files to read or write.
	Tar  string `json:"tar"`
	Blob string `json:"blob"`
	// Level of compression; the reference's own where none is given.
	Level       *int              `json:"level"`
	Annotations map[string]string `json:"annotations"`
	// Store is the folder of a store.
	Store  string  `json:"store"`
	Layers []layer `json:"layers"`
	Keep   bool    `json:"keep"`
	// From, To: files.
	From string `json:"from"`
	To   string `json:"to"`
}

// answer has a value or an error, or both where something was done before the error.
type answer struct {
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
	// Fallback says that podman would take the whole blob instead.
	Fallback bool `json:"fallback,omitempty"`
}

// serve answers requests until there are no more.
func serve(arguments []string) (any, error) {
	if len(arguments) != 0 {
		return nil, errUsage
	}
	open := stores{}
	defer open.shutdown()
	requests := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	for {
		var asked request
		if err := requests.Decode(&asked); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		value, err := asked.carryOut(open)
		said := answer{Value: value}
		if err != nil {
			said.Error = err.Error()
			said.Fallback = errors.As(err, &chunked.ErrFallbackToOrdinaryLayerDownload{})
		}
		if err := answers.Encode(said); err != nil {
			return nil, err
		}
	}
}

func (r *request) carryOut(open stores) (any, error) {
	switch r.Operation {
	case "facts": // of Tar
		return readFacts(r.Tar)
	case "write": // the reference's blob of Tar
		return writeBlob(r.Tar, r.Blob, r.Level)
	case "rebuild": // the tar of Blob
		return rebuild(r.Blob, r.Annotations)
	case "pull": // Layers into Store
		return open.pull(r.Store, r.Layers, r.Keep)
	case "estargz": // an eStargz blob of Tar
		return writeEstargz(r.Tar, r.Blob)
	case "decode": // From, in whatever form test data is kept, into To
		return nil, decode(r.From, r.To)
	default:
		return nil, fmt.Errorf("there is no operation %q", r.Operation)
	}
}
