// Command echo is a WebSocket server that sends every message back, with a
// page to try it in a browser. To run it:
//
//	go run ./examples/echo
//
// and open the URL that it prints. See -help for TLS, further origins and
// compression.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/websocket"
)

//go:embed page
var page embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("echo", flag.ExitOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "host:port to listen on")
	origins := flags.String("origins", "", "further origins whose pages may connect, comma-separated: https://app.example,https://*.example")
	cert := flags.String("cert", "", "certificate file (PEM), for https and wss")
	key := flags.String("key", "", "its private key file (PEM)")
	compress := flags.Bool("compress", false, "compress messages if the client wants that (permessage-deflate)")
	flags.Parse(args)

	e := &echo{up: websocket.Upgrader{
		Subprotocols: []string{"echo"},
		Options:      websocket.Options{KeepAlive: 30 * time.Second},
	}}
	if *compress {
		e.up.Compression = &websocket.Compression{}
	}
	if *origins != "" {
		e.up.Origins = strings.Split(*origins, ",")
	}
	// Without ReadHeaderTimeout a client may take for ever to ask.
	srv := &http.Server{Handler: e.routes(), ReadHeaderTimeout: 10 * time.Second}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	scheme, serve := "http", func() error { return srv.Serve(ln) }
	if *cert != "" || *key != "" {
		scheme, serve = "https", func() error { return srv.ServeTLS(ln, *cert, *key) }
	}
	fmt.Fprintf(stdout, "listening on %s://%s/ (WebSocket at /ws)\n", scheme, ln.Addr())

	failed := make(chan error, 1)
	go func() { failed <- serve() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Shutdown knows nothing of connections that were upgraded: closing them
	// is our task, and comes first. Browsers keep idle ones that Shutdown might
	// wait for.
	e.close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		return srv.Close()
	}
	return nil
}

// An echo is the server's state: the connections that are open.
type echo struct {
	up websocket.Upgrader

	mu     sync.Mutex
	conns  map[*websocket.Conn]bool
	closed bool
}

func (e *echo) routes() http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the directory is embedded
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", e.serveWS)
	mux.Handle("/", headers(http.FileServerFS(files)))
	return mux
}

// headers lets the page load nothing but its own files, and connect where its
// user wants.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

// serveWS is all there is to an echo server.
func (e *echo) serveWS(w http.ResponseWriter, r *http.Request) {
	c, err := e.up.Upgrade(w, r)
	if err != nil {
		return // the client has been told why
	}
	defer c.CloseNow()
	if !e.add(c) {
		c.Close(websocket.StatusGoingAway, "server stops")
		return
	}
	defer e.remove(c)
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return
		}
		if err := c.WriteMessage(c.Context(), m.Opcode, m.Data); err != nil {
			return
		}
	}
}

// add notes an open connection, unless the server is stopping.
func (e *echo) add(c *websocket.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		e.conns = make(map[*websocket.Conn]bool)
	}
	if !e.closed {
		e.conns[c] = true
	}
	return !e.closed
}

func (e *echo) remove(c *websocket.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
}

// close says goodbye to all connections side by side. Each Close is bounded by
// Options.CloseTimeout.
func (e *echo) close() {
	e.mu.Lock()
	e.closed = true
	var wg sync.WaitGroup
	for c := range e.conns {
		wg.Go(func() { c.Close(websocket.StatusGoingAway, "server stops") })
	}
	e.mu.Unlock()
	wg.Wait()
}
