// Command client is a WebSocket client for the shell. Lines of standard input
// become messages, and messages lines of standard output:
//
//	go run ./examples/client ws://127.0.0.1:8080/ws
//	printf 'a\nb\n' | go run ./examples/client ws://127.0.0.1:8080/ws
//
// At the end of input it sends a ping: what the server had to say to the last
// message is there before the pong. Then it closes. A server that answers
// later wants -wait.
//
// The exit status is 0 if the connection was closed in a normal way by either
// side (codes 1000, 1001, 1005), 1 if it was lost or closed otherwise, 2 for
// wrong usage, and 3 if it could not be opened.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/websocket"
)

const (
	exitOK        = 0
	exitLost      = 1
	exitUsage     = 2
	exitHandshake = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// A config is what the command line says.
type config struct {
	url          string
	header       http.Header
	subprotocols []string
	op           websocket.Opcode
	ping         time.Duration
	wait         time.Duration
	timeout      time.Duration
	compression  *websocket.Compression
	tls          *tls.Config
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var pinger sync.WaitGroup
	defer pinger.Wait()
	var mu sync.Mutex // the three that run side by side all complain
	complain := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(stderr, "client:", err)
	}
	cfg, err := parse(args, stderr)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			complain(err)
		}
		return exitUsage
	}
	c, err := dial(ctx, cfg)
	if err != nil {
		complain(err)
		return exitHandshake
	}
	defer c.CloseNow()
	defer context.AfterFunc(ctx, func() { c.Close(websocket.StatusNormalClosure, "") })()

	if cfg.ping > 0 {
		pinger.Go(func() { ping(c, cfg.ping, complain) })
	}
	var broken atomic.Bool // the input could not be sent
	go func() {
		defer c.Close(websocket.StatusNormalClosure, "")
		if err := send(c, cfg, stdin); err != nil && c.State() == websocket.StateOpen {
			broken.Store(true)
			complain(err)
		}
	}()
	if err := receive(c, stdout); err != nil {
		complain(err)
		return exitLost
	}
	<-c.Context().Done() // let a Close of ours complete
	if broken.Load() {
		return exitLost
	}
	return exitOK
}

// parse reads the command line. flag has written to stderr what is wrong.
func parse(args []string, stderr io.Writer) (config, error) {
	cfg := config{header: make(http.Header), op: websocket.OpText}
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: client [flags] ws://host:port/path")
		flags.PrintDefaults()
	}
	flags.Func("H", "request header `Name: value`; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return errors.New("want Name: value")
		}
		cfg.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	flags.Func("subprotocol", "`name` to offer; may be repeated, or a list with commas", func(s string) error {
		for p := range strings.SplitSeq(s, ",") {
			cfg.subprotocols = append(cfg.subprotocols, strings.TrimSpace(p))
		}
		return nil
	})
	origin := flags.String("origin", "", "Origin header to send")
	binary := flags.Bool("binary", false, "send binary messages, and write them as they are, without a newline")
	flags.DurationVar(&cfg.ping, "ping", 0, "measure the round trip this often, to standard error")
	flags.DurationVar(&cfg.wait, "wait", 0, "how long to stay after the end of input")
	flags.DurationVar(&cfg.timeout, "timeout", 30*time.Second, "for the opening handshake")
	compress := flags.Bool("compress", false, "offer to compress messages (permessage-deflate)")
	cacert := flags.String("cacert", "", "file of certificates (PEM) to trust, beside the system's")
	insecure := flags.Bool("insecure", false, "trust any certificate: for tests only")
	if err := flags.Parse(args); err != nil {
		return cfg, flag.ErrHelp
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return cfg, fmt.Errorf("%d arguments, want 1 URL", flags.NArg())
	}
	cfg.url = flags.Arg(0)
	if *binary {
		cfg.op = websocket.OpBinary
	}
	if *compress {
		cfg.compression = &websocket.Compression{}
	}
	if *origin != "" {
		cfg.header.Set("Origin", *origin)
	}
	var err error
	cfg.tls, err = tlsConfig(*cacert, *insecure)
	return cfg, err
}

func tlsConfig(cacert string, insecure bool) (*tls.Config, error) {
	t := &tls.Config{InsecureSkipVerify: insecure}
	if cacert == "" {
		return t, nil
	}
	pem, err := os.ReadFile(cacert)
	if err != nil {
		return nil, err
	}
	if t.RootCAs, err = x509.SystemCertPool(); err != nil {
		t.RootCAs = x509.NewCertPool()
	}
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", cacert)
	}
	return t, nil
}

func dial(ctx context.Context, cfg config) (*websocket.Conn, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone() // with proxies from the environment
	transport.TLSClientConfig = cfg.tls
	d := websocket.Dialer{
		Client:           &http.Client{Transport: transport},
		Header:           cfg.header,
		Subprotocols:     cfg.subprotocols,
		HandshakeTimeout: cfg.timeout,
		Options:          websocket.Options{Compression: cfg.compression},
	}
	c, _, err := d.Dial(ctx, cfg.url)
	return c, err
}

// send makes a message of each line of r, and returns when the connection may
// be closed. There is no half-close in WebSocket: after our close frame the server's
// replies would be lost, so they are waited for. Messages and pongs come in
// order; when the pong is there, so is all that was sent before it.
func send(c *websocket.Conn, cfg config, r io.Reader) error {
	err := sendLines(c, cfg.op, r)
	if _, lost := c.Ping(c.Context()); err == nil {
		err = lost
	}
	if err != nil {
		return err
	}
	select {
	case <-time.After(cfg.wait):
	case <-c.Context().Done():
	}
	return nil
}

func sendLines(c *websocket.Conn, op websocket.Opcode, r io.Reader) error {
	lines := bufio.NewReader(r) // a Scanner would give up on long lines
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if err := c.WriteMessage(c.Context(), op, []byte(line)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// receive writes what comes to w. It returns nil when the connection is closed
// in a normal way.
func receive(c *websocket.Conn, w io.Writer) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if m.Opcode == websocket.OpText {
			m.Data = append(m.Data, '\n')
		}
		if _, err := w.Write(m.Data); err != nil {
			return err
		}
	}
	return nil
}

// ping reports the round-trip time until the connection ends.
func ping(c *websocket.Conn, every time.Duration, report func(error)) {
	for {
		rtt, err := c.Ping(c.Context())
		if errors.Is(err, net.ErrClosed) || c.Context().Err() != nil {
			return
		}
		if err != nil {
			report(err)
			return
		}
		report(fmt.Errorf("pong after %v", rtt))
		select {
		case <-time.After(every):
		case <-c.Context().Done():
			return
		}
	}
}
