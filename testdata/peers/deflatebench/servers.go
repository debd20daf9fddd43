package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/websocket"
	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

var libraries = []string{"ours", "gws", "coder", "gorilla"}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC() // what sync.Pool holds goes with the second
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// serve is the child: it serves until its standard input ends.
func serve(library string, takeover bool) {
	mux := http.NewServeMux()
	for _, work := range []string{"push", "echo"} {
		mux.HandleFunc("/"+work, func(w http.ResponseWriter, r *http.Request) {
			size, _ := strconv.Atoi(r.URL.Query().Get("size"))
			count, _ := strconv.Atoi(r.URL.Query().Get("count"))
			push := func(write func([]byte) error) {
				if work != "push" {
					return
				}
				list := messages(size)
				for i := range count {
					if write(list[i%len(list)]) != nil {
						return
					}
				}
			}
			handle(library, takeover, w, r, push)
		})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, mux)
	fmt.Println(ln.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "cpu":
			fmt.Println(int64(cpuTime()))
		case "heap":
			fmt.Println(heapBytes())
		}
	}
}

// handle serves a connection: push sends what is to be sent, and then messages
// are echoed. Every library has its default level, and compresses all messages.
func handle(library string, takeover bool, w http.ResponseWriter, r *http.Request, push func(func([]byte) error)) {
	var err error
	switch {
	case strings.HasPrefix(library, "ours"):
		err = handleOurs(library, takeover, w, r, push)
	case library == "gws":
		err = handleGWS(takeover, w, r, push)
	case library == "coder":
		err = handleCoder(takeover, w, r, push)
	case library == "gorilla":
		err = handleGorilla(w, r, push)
	}
	if err != nil {
		log.Print(library, ": ", err)
	}
}

func ourSettings(takeover bool) websocket.Options {
	return websocket.Options{Compression: &websocket.Compression{NoWriteTakeover: !takeover, NoReadTakeover: !takeover, Threshold: 1}}
}

func handleOurs(library string, takeover bool, w http.ResponseWriter, r *http.Request, push func(func([]byte) error)) error {
	u := websocket.Upgrader{Options: ourSettings(takeover)}
	if library != "ours" {
		u.Compression.WriteWindowBits, u.Compression.ReadWindowBits = 15, 15
	}
	c, err := u.Upgrade(w, r)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	push(func(m []byte) error { return c.WriteMessage(c.Context(), websocket.OpText, m) })
	for m, err := range c.Messages(c.Context()) {
		if err != nil || c.WriteMessage(c.Context(), m.Opcode, m.Data) != nil {
			break // the client has gone
		}
	}
	return nil
}

// gwsEcho is gws's callbacks.
type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

// gwsUpgraders share what they hold among connections: one for each setting.
var gwsUpgraders = map[bool]*gws.Upgrader{false: gwsUpgrader(false), true: gwsUpgrader(true)}

func gwsUpgrader(takeover bool) *gws.Upgrader {
	return gws.NewUpgrader(gwsEcho{}, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{
		Enabled: true, Threshold: 1, ServerContextTakeover: takeover, ClientContextTakeover: takeover,
	}})
}

func handleGWS(takeover bool, w http.ResponseWriter, r *http.Request, push func(func([]byte) error)) error {
	c, err := gwsUpgraders[takeover].Upgrade(w, r)
	if err != nil {
		return err
	}
	push(func(m []byte) error { return c.WriteMessage(gws.OpcodeText, m) })
	c.ReadLoop()
	return nil
}

func handleCoder(takeover bool, w http.ResponseWriter, r *http.Request, push func(func([]byte) error)) error {
	mode := coder.CompressionNoContextTakeover
	if takeover {
		mode = coder.CompressionContextTakeover
	}
	c, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	ctx := context.Background()
	push(func(m []byte) error { return c.Write(ctx, coder.MessageText, m) })
	for {
		kind, m, err := c.Read(ctx)
		if err != nil || c.Write(ctx, kind, m) != nil {
			return nil
		}
	}
}

func handleGorilla(w http.ResponseWriter, r *http.Request, push func(func([]byte) error)) error {
	u := gorilla.Upgrader{EnableCompression: true}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	push(func(m []byte) error { return c.WriteMessage(gorilla.TextMessage, m) })
	for {
		kind, m, err := c.ReadMessage()
		if err != nil || c.WriteMessage(kind, m) != nil {
			return nil
		}
	}
}

// ourEncoder returns what compresses a message with our library, and what says
// how many bytes came of all. The far end is a peer in memory that reads frames
// without a look at them.
func ourEncoder(takeover bool) (work func(m []byte), wire func() int) {
	o := ourSettings(takeover)
	nc := &sink{}
	c := sinkConn(nc, o)
	ctx := context.Background()
	return func(m []byte) {
		if err := c.WriteMessage(ctx, websocket.OpText, m); err != nil {
			log.Fatal(err)
		}
	}, func() int { return nc.payload }
}

// A sink is a net.Conn that takes what is written and counts the payload.
type sink struct {
	net.Conn
	payload int
}

func (s *sink) Write(p []byte) (int, error) {
	h, n, err := websocket.ParseHeader(p)
	if err == nil && n > 0 {
		s.payload += int(h.Length)
	}
	return len(p), nil
}

func (s *sink) Read([]byte) (int, error)         { select {} }
func (s *sink) Close() error                     { return nil }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// A hijackable is a ResponseWriter over a sink.
type hijackable struct {
	header http.Header
	nc     *sink
}

func (h hijackable) Header() http.Header         { return h.header }
func (h hijackable) Write(p []byte) (int, error) { return len(p), nil }
func (h hijackable) WriteHeader(int)             {}
func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(bufio.NewReader(strings.NewReader("")), bufio.NewWriter(h.nc)), nil
}

// sinkConn upgrades a request that nobody made.
func sinkConn(nc *sink, o websocket.Options) *websocket.Conn {
	r, err := http.NewRequest("GET", "http://localhost/", nil)
	if err != nil {
		log.Fatal(err)
	}
	for name, value := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
	} {
		r.Header.Set(name, value)
	}
	u := websocket.Upgrader{Options: o}
	c, err := u.Upgrade(hijackable{http.Header{}, nc}, r)
	if err != nil {
		log.Fatal(err)
	}
	return c
}
