package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDialIsDroppedWhenItsRequestHasAnotherConnection(t *testing.T) {
	transport := NewTransport(TransportConfig{DialContext: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialed")
		return nil, net.ErrClosed
	}})
	var connected atomic.Bool
	connected.Store(true)
	ctx := context.WithValue(t.Context(), connectedKey{}, &connected)
	if _, err := transport.DialTLSContext(ctx, "tcp", "api.security.microsoft.com:443"); !errors.Is(err, errNotNeeded) {
		t.Errorf("got %v", err)
	}
}

func TestDialsQueueButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		away := make(chan struct{})
		transport := NewTransport(TransportConfig{DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			<-away
			return nil, net.ErrClosed
		}})
		var callers sync.WaitGroup
		for range dialsAtOnce + 1 {
			callers.Go(func() {
				if _, err := transport.DialTLSContext(t.Context(), "tcp", "h:443"); !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(dialGrace)
		synctest.Wait()
		if got := dials.Load(); got != dialsAtOnce {
			t.Errorf("%d dials at once, want %d", got, dialsAtOnce)
		}
		time.Sleep(dialDelay)
		synctest.Wait()
		if got := dials.Load(); got != dialsAtOnce+1 {
			t.Errorf("%d dials after the delay, want %d", got, dialsAtOnce+1)
		}
		close(away)
		callers.Wait()
	})
}
