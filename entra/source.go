// Package entra is the vocabulary of the broker: what a token is, who it is
// for, how it is asked for and how asking can fail.
//
// Everything that can give a token is a [Source]. A flow is a source, the
// cache is a source around a flow, the broker is a source that checks policy.
// The package needs the standard library only.
package entra

import "context"

// Source gives tokens.
//
// Token returns a token for exactly the scope asked for. It honours ctx, is
// safe for concurrent use, and every error it returns is, or wraps, an
// [*Error].
type Source interface {
	Token(ctx context.Context, req Request) (Token, error)
}

// SourceFunc is a function that is a [Source].
type SourceFunc func(ctx context.Context, req Request) (Token, error)

// Token calls f.
func (f SourceFunc) Token(ctx context.Context, req Request) (Token, error) { return f(ctx, req) }
