// Interop drives the reference implementation of zstd:chunked, so that its reading and writing can be held against chunkify's.
//
// Every subcommand prints one JSON value on standard output; what goes wrong is one line on standard error and exit code 1.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.podman.io/storage/pkg/reexec"
)

const usage = `usage: interop COMMAND …
  facts TAR                             what the reference reads in a tar: members, TOC entries, tar-split
  write TAR BLOB ANNOTATIONS [LEVEL]    the reference's zstd:chunked blob of a tar, and the annotations of its descriptor
  serve                                 answers requests: one JSON value a line on standard input, one on standard output`

var commands = map[string]func(arguments []string) (any, error){
	"facts": facts,
	"write": write,
	"serve": serve,
}

// errUsage is returned by a subcommand whose arguments do not fit.
var errUsage = fmt.Errorf("wrong arguments\n%s", usage)

func main() {
	if reexec.Init() { // the store runs itself again, chrooted, for some of its work
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return errUsage
	}
	command, ok := commands[arguments[0]]
	if !ok {
		return errUsage
	}
	result, err := command(arguments[1:])
	if result != nil {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(result); err != nil {
			return err
		}
	}
	return err
}
