// Past writes blobs with a past version of the reference: its go.mod is one of the *.mod beside it (go build -modfile=…).
//
//	past TAR BLOB [LEVEL]    writes the blob of a tar and prints the annotations of its descriptor
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "past:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 2 && len(arguments) != 3 {
		return fmt.Errorf("usage: past TAR BLOB [LEVEL]")
	}
	var level *int
	if len(arguments) == 3 {
		number, err := strconv.Atoi(arguments[2])
		if err != nil {
			return err
		}
		level = &number
	}
	tar, err := os.Open(arguments[0])
	if err != nil {
		return err
	}
	defer tar.Close()
	blob, err := os.Create(arguments[1])
	if err != nil {
		return err
	}
	defer blob.Close()
	annotations := map[string]string{}
	writer, err := compressor(blob, annotations, level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(writer, tar); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	if err := blob.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(annotations)
}
