//go:build !race

// As in bench_test.go: the race detector empties a sync.Pool at random.

package websocket

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand"
	"testing"
)

// deflateSizes are the sizes of messages that are measured, in bytes.
var deflateSizes = []int{128, 1 << 10, 16 << 10}

// jsonMessages returns different messages of one shape, in all more than any
// window has room for.
func jsonMessages(size int) [][]byte {
	rnd := rand.New(rand.NewSource(1))
	text := jsonText(rnd, 1<<20)
	var messages [][]byte
	for ; len(text) >= size; text = text[size:] {
		messages = append(messages, text[:size])
	}
	return messages
}

func TestDeflater_allocations(t *testing.T) {
	for _, size := range deflateSizes {
		messages := jsonMessages(size)
		buf := make([]byte, 0, 2*size)
		d := newDeflater(12)
		i := 0
		round := func() {
			m := messages[i%len(messages)]
			i++
			buf = d.flush(d.write(buf[:0], m))
			d.remember(m)
			lent := getDeflater(15, size)
			buf = lent.flush(lent.write(buf[:0], m))
			putDeflater(lent)
		}
		for range 20 { // fills the pools
			round()
		}
		if n := testing.AllocsPerRun(200, round); n != 0 {
			t.Errorf("%d bytes: %v allocations, want 0", size, n)
		}
	}
}

// BenchmarkDeflate measures what a message costs, and reports its size in
// percent, beside compress/flate, which has windows of 2^15 bytes only.
func BenchmarkDeflate(b *testing.B) {
	var std bytes.Buffer
	for _, size := range deflateSizes {
		messages := jsonMessages(size)
		buf := make([]byte, 0, 2*size)
		run := func(name string, deflate func(m []byte) int) {
			b.Run(sizeName(size)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				in, out := 0, 0
				for b.Loop() {
					m := messages[in/size%len(messages)]
					in += size
					out += deflate(m)
				}
				b.ReportMetric(100*float64(out)/float64(in), "%")
			})
		}
		for _, bits := range []int{9, 12, 15} {
			d := newDeflater(bits)
			run(fmt.Sprintf("takeover=true/bits=%d", bits), func(m []byte) int {
				buf = d.flush(d.write(buf[:0], m))
				d.remember(m)
				return len(buf)
			})
		}
		for _, thorough := range []bool{false, true} {
			run(fmt.Sprintf("takeover=false/bits=15/thorough=%t", thorough), func(m []byte) int {
				d := getDeflater(15, len(m))
				d.thorough = thorough
				buf = d.flush(d.write(buf[:0], m))
				putDeflater(d)
				return len(buf)
			})
		}
		for _, level := range []int{1, 6} {
			w, err := flate.NewWriter(&std, level)
			if err != nil {
				b.Fatal(err)
			}
			for _, takeover := range []bool{true, false} {
				run(fmt.Sprintf("takeover=%t/flate=%d", takeover, level), func(m []byte) int {
					std.Reset()
					if !takeover {
						w.Reset(&std)
					}
					w.Write(m)
					w.Flush()
					return std.Len() - len(syncTail)
				})
			}
		}
	}
}
