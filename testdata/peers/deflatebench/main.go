// Command deflatebench prints the tables of the README on compression: what it
// saves, and what it costs in processor time and memory. To run it:
//
//	cd testdata/peers && go run ./deflatebench
//
// Encoders alone are fed messages, and their output is dropped. Servers are
// whole ones: each library is the only one in a process of its own, this
// program again, and answers raw clients in the parent, which count what comes
// and do nothing else of note. "push" has the server send messages, "echo" has
// it inflate messages that were compressed beforehand and send them back. The
// time is all processor time, user and system, of the server's process, per
// message. The work is done three times over, in turn, and the median printed,
// with the range.
//
// All messages are cut from JSON objects of one shape; no two are the same.
package main

import (
	"bufio"
	"bytes"
	stdflate "compress/flate"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"
)

func main() {
	log.SetFlags(0)
	server := flag.String("server", "", "serve with this library: for the program's own use")
	takeover := flag.Bool("takeover", false, "with context takeover")
	rounds := flag.Int("rounds", 3, "how often each measurement is made")
	traffic := flag.Int("bytes", 24<<20, "bytes of messages in each measurement of a server")
	flag.Parse()
	if *server != "" {
		serve(*server, *takeover)
		return
	}
	b := bench{rounds: *rounds, traffic: *traffic, conns: 200, out: os.Stdout}
	if err := b.run(); err != nil {
		log.Fatal(err)
	}
}

// sizes of messages; that of single objects is 114 bytes in the mean.
var sizes = []int{114, 128, 1 << 10, 16 << 10}

// object returns one of many JSON objects of one shape.
func object(rnd *rand.Rand, i int) []byte {
	names := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj", "olivia", "peggy"}
	symbols := []string{"AAPL", "MSFT", "GOOG", "AMZN", "NVDA"}
	return fmt.Appendf(nil, `{"id":"%05x","seq":%d,"user":"%s","symbol":"%s","price":%d.%02d,"qty":%d,"at":"2024-05-14T10:%02d:%02d.%03dZ"}`,
		rnd.Intn(1<<20), 100000+i, names[rnd.Intn(len(names))], symbols[rnd.Intn(len(symbols))],
		rnd.Intn(1000), rnd.Intn(100), rnd.Intn(1000), i/60%60, i%60, rnd.Intn(1000))
}

// messages returns a megabyte of them, the same for each call.
func messages(size int) [][]byte {
	lists.Lock()
	defer lists.Unlock()
	if lists.bySize[size] == nil {
		lists.bySize[size] = newMessages(size)
	}
	return lists.bySize[size]
}

var lists = struct {
	sync.Mutex
	bySize map[int][][]byte
}{bySize: make(map[int][][]byte)}

func newMessages(size int) (list [][]byte) {
	rnd := rand.New(rand.NewSource(1))
	text := []byte("[")
	for i := 0; len(text) < 1<<20; i++ {
		o := object(rnd, i)
		if size == sizes[0] {
			list = append(list, o)
		}
		text = append(append(text, o...), ',')
	}
	for ; size != sizes[0] && len(text) >= size; text = text[size:] {
		list = append(list, text[:size])
	}
	return list
}

func sizeName(size int) string {
	switch {
	case size == sizes[0]:
		return "114 B objects"
	case size < 1<<10:
		return fmt.Sprint(size, " B")
	}
	return fmt.Sprint(size>>10, " KiB")
}

// A figure is what was measured, in all rounds.
type figure struct {
	micros []float64
	ratio  float64 // bytes on the wire for each of a message
}

func (f figure) String() string {
	if len(f.micros) == 0 {
		return "–"
	}
	s := slices.Sorted(slices.Values(f.micros))
	return fmt.Sprintf("%.1f (%.1f–%.1f), %.0f %%", s[len(s)/2], s[0], s[len(s)-1], 100*f.ratio)
}

type bench struct {
	rounds, traffic int
	conns           int64 // whose memory is looked at
	out             io.Writer
}

func (b *bench) run() error {
	fmt.Fprintf(b.out, "%s, %d cores, %s\n", cpu(), runtime.NumCPU(), runtime.Version())
	for _, takeover := range []bool{true, false} {
		title := "without context takeover"
		if takeover {
			title = "with context takeover"
		}
		b.encoders(title, takeover)
		for _, work := range []string{"push", "echo"} {
			if err := b.servers(title, work, takeover); err != nil {
				return err
			}
		}
	}
	return b.memory()
}

func cpu() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(info), "model name\t: ")
	name, _, _ := strings.Cut(after, "\n")
	return name
}

// table prints rows of figures, a column for each size.
func (b *bench) table(title, first string, names []string, cell func(name string, size int) figure) {
	fmt.Fprintf(b.out, "\n%s: µs per message (range), size in %%\n\n| %s |", title, first)
	for _, size := range sizes {
		fmt.Fprintf(b.out, " %s |", sizeName(size))
	}
	fmt.Fprintf(b.out, "\n|---|%s\n", strings.Repeat("---|", len(sizes)))
	for _, name := range names {
		fmt.Fprintf(b.out, "| %s |", name)
		for _, size := range sizes {
			fmt.Fprintf(b.out, " %v |", cell(name, size))
		}
		fmt.Fprintln(b.out)
	}
}

// A deflater is a writer of one of the packages flate.
type deflater interface {
	io.Writer
	Flush() error
	Reset(io.Writer)
}

var encoders = map[string]func(w io.Writer) deflater{
	"compress/flate, level 1": func(w io.Writer) deflater { d, _ := stdflate.NewWriter(w, 1); return d },
	"compress/flate, level 6": func(w io.Writer) deflater { d, _ := stdflate.NewWriter(w, 6); return d },
	"klauspost, level 1":      func(w io.Writer) deflater { d, _ := flate.NewWriter(w, 1); return d },
}

// encoders measures them alone. Ours has no name outside its package: it is
// measured through a whole Conn, which writes to nowhere.
func (b *bench) encoders(title string, takeover bool) {
	figures := make(map[string]map[int]figure)
	names := []string{"ours, with all of Conn.WriteMessage", "klauspost, level 1", "compress/flate, level 1", "compress/flate, level 6"}
	for range b.rounds {
		for _, name := range names {
			for _, size := range sizes {
				work, wire := b.encoder(name, takeover)
				f := timed(messages(size), b.traffic/4, work, wire)
				if figures[name] == nil {
					figures[name] = make(map[int]figure)
				}
				f.micros = append(f.micros, figures[name][size].micros...)
				figures[name][size] = f
			}
		}
	}
	b.table("Encoders, "+title, "encoder", names, func(name string, size int) figure { return figures[name][size] })
}

// encoder returns a function that compresses a message, and one that says how
// many bytes came of all.
func (b *bench) encoder(name string, takeover bool) (work func(m []byte), wire func() int) {
	make, ok := encoders[name]
	if !ok {
		return ourEncoder(takeover)
	}
	var out bytes.Buffer
	d, n := make(&out), 0
	return func(m []byte) {
		out.Reset()
		if !takeover {
			d.Reset(&out)
		}
		d.Write(m)
		d.Flush()
		n += out.Len() - 4
	}, func() int { return n }
}

// timed has all messages done until traffic bytes are.
func timed(list [][]byte, traffic int, work func([]byte), wire func() int) figure {
	for _, m := range list[:len(list)/10] { // for the pools
		work(m)
	}
	bytes, n, skip := 0, 0, wire()
	start := cpuTime()
	for ; bytes < traffic; n++ {
		m := list[n%len(list)]
		bytes += len(m)
		work(m)
	}
	used := cpuTime() - start
	return figure{[]float64{used.Seconds() * 1e6 / float64(n)}, float64(wire()-skip) / float64(bytes)}
}

// A child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader
	addr  string
}

func startChild(library string, takeover bool) (*child, error) {
	c := &child{cmd: exec.Command(os.Args[0], "-server", library, "-takeover="+strconv.FormatBool(takeover))}
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdin, c.lines = stdin, bufio.NewReader(stdout)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.addr, err = c.line()
	return c, err
}

func (c *child) line() (string, error) {
	s, err := c.lines.ReadString('\n')
	return strings.TrimSpace(s), err
}

// ask gives the child a command and returns the number that it answers.
func (c *child) ask(command string) (int64, error) {
	fmt.Fprintln(c.stdin, command)
	s, err := c.line()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s, 10, 64)
}

// stop ends the child, which sees the end of its standard input.
func (c *child) stop() {
	c.stdin.Close()
	c.cmd.Wait()
}

// servers measures whole servers.
func (b *bench) servers(title, work string, takeover bool) error {
	figures := make(map[string]map[int]figure)
	names := libraries
	if takeover { // gorilla knows none
		names = libraries[:3]
	}
	for range b.rounds {
		for _, name := range names {
			c, err := startChild(name, takeover)
			if err != nil {
				return err
			}
			for _, size := range sizes {
				f, err := b.server(c, work, size)
				if err != nil {
					return fmt.Errorf("%s, %s of %s: %w", name, work, sizeName(size), err)
				}
				if figures[name] == nil {
					figures[name] = make(map[int]figure)
				}
				f.micros = append(f.micros, figures[name][size].micros...)
				figures[name][size] = f
			}
			c.stop()
		}
	}
	b.table("Servers, "+work+", "+title, "library", names, func(name string, size int) figure { return figures[name][size] })
	return nil
}

// server measures one that is running.
func (b *bench) server(c *child, work string, size int) (figure, error) {
	const conns = 4
	count := max(b.traffic/size/conns, 1)
	if size < 1<<10 { // else most of the time goes into these
		count = max(count/8, 1)
	}
	if _, err := exchange(c.addr, work, size, max(count/10, 1), 1); err != nil { // for the pools, and so that it has the messages
		return figure{}, err
	}
	before, err := c.ask("cpu")
	if err != nil {
		return figure{}, err
	}
	ratio, err := exchange(c.addr, work, size, count, conns)
	if err != nil {
		return figure{}, err
	}
	after, err := c.ask("cpu")
	if err != nil {
		return figure{}, err
	}
	used := time.Duration(after - before)
	return figure{[]float64{used.Seconds() * 1e6 / float64(conns*count)}, ratio}, nil
}
