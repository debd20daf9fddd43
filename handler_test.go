package websocket

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The ways in which a handler uses its connection until it learns of the end,
// returns, and cuts the connection with its deferred CloseNow.
var handlers = []struct {
	name string
	run  func(c *Conn)
}{
	{"reads", func(c *Conn) {
		for range c.Messages(c.Context()) {
		}
	}},
	{"reads with a context", func(c *Conn) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for {
			if _, _, err := c.ReadMessage(ctx); err != nil {
				return
			}
		}
	}},
	{"reads a stream", func(c *Conn) {
		for {
			_, r, err := c.NextReader(c.Context())
			for err == nil {
				_, err = r.Read(make([]byte, 10))
			}
			if c.State() != StateOpen {
				return
			}
		}
	}},
	{"writes", func(c *Conn) {
		go func() {
			for range c.Messages(c.Context()) {
			}
		}()
		for c.WriteText(c.Context(), "tick") == nil {
		}
	}},
	{"writes in fragments", func(c *Conn) {
		go func() {
			for range c.Messages(c.Context()) {
			}
		}()
		for {
			w, err := c.NextWriter(c.Context(), OpText)
			if err != nil {
				return
			}
			w.Write([]byte("tick"))
			if w.Close() != nil {
				return
			}
		}
	}},
	{"pings", func(c *Conn) {
		go func() {
			for range c.Messages(c.Context()) {
			}
		}()
		for {
			if _, err := c.Ping(c.Context()); err != nil {
				return
			}
		}
	}},
}

// TestHandlers_return closes connections, from another goroutine and from the
// peer, whose handlers cut them as soon as they hear of it. Both sides see the
// whole closing handshake all the same.
func TestHandlers_return(t *testing.T) {
	for _, h := range handlers {
		for _, who := range [...]string{"us", "the peer"} {
			t.Run(h.name+", closed by "+who, func(t *testing.T) {
				for range 20 {
					server, client := tcpConns(t)
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer server.CloseNow()
						h.run(server)
					}()
					closing, other := server, client
					if who == "the peer" {
						closing, other = client, server
					}
					read := make(chan struct{})
					go func() {
						defer close(read)
						for range client.Messages(client.Context()) {
						}
					}()
					if err := closing.Close(StatusGoingAway, "all must go"); err != nil {
						t.Fatalf("Close = %v, want nil", err)
					}
					<-done
					<-read
					<-other.Context().Done()
					var ce *CloseError
					if err := context.Cause(other.Context()); !errors.As(err, &ce) || ce.Code != StatusGoingAway {
						t.Fatalf("the other side ended with %v, want 1001", err)
					}
				}
			})
		}
	}
}

// tcpConns returns both ends of a connection over loopback, after a real
// opening handshake.
func tcpConns(tb testing.TB) (server, client *Conn) {
	tb.Helper()
	conns := make(chan *Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Upgrade(w, r)
		if err != nil {
			tb.Errorf("Upgrade: %v", err)
		}
		conns <- c
	}))
	tb.Cleanup(srv.Close)
	client, _, err := Dial(context.Background(), srv.URL)
	if err != nil {
		tb.Fatalf("Dial: %v", err)
	}
	server = <-conns
	tb.Cleanup(func() {
		server.CloseNow()
		client.CloseNow()
	})
	return server, client
}
