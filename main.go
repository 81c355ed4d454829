// Command tokenbroker gets Microsoft Entra tokens for local programs, so that
// none of them holds a secret.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"tokenbroker/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Main(ctx, cli.System{Args: os.Args[1:], Env: os.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
