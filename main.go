// Command tokenbroker gets Microsoft Entra tokens for local programs, so that
// none of them holds a secret.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"tokenbroker/cli"
)

func main() { os.Exit(run()) }

func run() int {
	// net/http has a logger for servers, but its client writes to the standard one
	// what a peer sends unasked, byte for byte. That may be what we sent to it.
	log.SetOutput(io.Discard)
	// To serve, SIGHUP means to read everything again. It ends nothing, also while
	// nobody listens to it, yet or any more: whoever rotates logs cannot know that.
	if slices.Contains(os.Args[1:], "serve") {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	// Never stopped: another SIGTERM while we end must not make a failure of it.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) }) // a second Ctrl-C ends what the first could not
	return cli.Main(ctx, cli.System{Name: os.Args[0], Args: os.Args[1:], Env: os.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
