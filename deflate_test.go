package websocket

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// syncTail is what RFC 7692, section 7.2.1, removes from the end of a message,
// and lastTail that and an empty final block, so that an inflater sees the end.
const (
	syncTail = "\x00\x00\xff\xff"
	lastTail = syncTail + "\x01\x00\x00\xff\xff"
)

// jsonObject returns the i-th of many JSON objects of one shape, of 114 bytes
// in the mean: an event with an id, a name, a price and a time.
func jsonObject(rnd *rand.Rand, i int) []byte {
	names := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj", "olivia", "peggy"}
	symbols := []string{"AAPL", "MSFT", "GOOG", "AMZN", "NVDA"}
	return fmt.Appendf(nil, `{"id":"%05x","seq":%d,"user":"%s","symbol":"%s","price":%d.%02d,"qty":%d,"at":"2024-05-14T10:%02d:%02d.%03dZ"}`,
		rnd.Intn(1<<20), 100000+i, names[rnd.Intn(len(names))], symbols[rnd.Intn(len(symbols))],
		rnd.Intn(1000), rnd.Intn(100), rnd.Intn(1000), i/60%60, i%60, rnd.Intn(1000))
}

// jsonText returns an array of such objects, cut at size bytes.
func jsonText(rnd *rand.Rand, size int) []byte {
	text := []byte("[")
	for i := 0; len(text) < size; i++ {
		text = append(append(text, jsonObject(rnd, i)...), ',')
	}
	return text[:size]
}

// anyMessage returns a message of some kind, of up to size bytes.
func anyMessage(rnd *rand.Rand, size int) []byte {
	m := make([]byte, rnd.Intn(size+1))
	letters := 1 + rnd.Intn(256)
	switch rnd.Intn(4) {
	case 0:
		return jsonText(rnd, len(m))
	case 1: // no repeats but by chance
		for i := range m {
			m[i] = byte(rnd.Intn(letters))
		}
	case 2: // repeats at all distances and of all lengths
		for i := 0; i < len(m); {
			if n := rnd.Intn(300); i > 0 && n > 20 {
				from := rnd.Intn(i)
				for j := 0; j < n && i < len(m); j++ {
					m[i] = m[from+j]
					i++
				}
				continue
			}
			m[i] = byte(rnd.Intn(letters))
			i++
		}
	case 3: // steep frequencies, for long codes
		for i := range m {
			m[i] = byte(rnd.ExpFloat64() * float64(letters) / 8)
		}
	}
	return m
}

// deflateMessage returns message as d sends it in the given chunks. Each is
// remembered, but not the last unless there is takeover.
func deflateMessage(d *deflater, takeover bool, chunks ...[]byte) []byte {
	var out []byte
	for i, chunk := range chunks {
		out = d.write(out, chunk)
		if takeover || i < len(chunks)-1 {
			d.remember(chunk)
		}
	}
	return d.flush(out)
}

// cut cuts b in up to n pieces, of which some may be empty.
func cut(rnd *rand.Rand, b []byte, n int) (pieces [][]byte) {
	for range rnd.Intn(n) {
		i := rnd.Intn(len(b) + 1)
		pieces = append(pieces, b[:i])
		b = b[i:]
	}
	return append(pieces, b)
}

// A deflateReader takes a DEFLATE stream apart, slowly, by RFC 1951 alone.
type deflateReader struct {
	data []byte
	pos  int    // in bits
	out  []byte // all that was inflated
	far  int    // the greatest distance
}

// A readBlock is a block as it was found in a stream.
type readBlock struct {
	kind       int // 0 stored, 1 with the fixed codes, 2 with its own
	start, end int // in bits, with the three of its head
	data       []byte
	repeats    []repeat
}

func (r *deflateReader) bits(n int) (v int) {
	for i := range n {
		v |= int(r.data[r.pos>>3]>>(r.pos&7)&1) << i
		r.pos++
	}
	return v
}

// symbol reads the next symbol of a set whose codes are given.
func (r *deflateReader) symbol(codes []int) int {
	for code := 1; ; {
		code = code<<1 | r.bits(1)
		if s := codes[code]; s >= 0 {
			return s
		}
	}
}

// canonical returns the symbols of codes that have the sizes, by RFC 1951,
// section 3.2.2. The index is the code, as it is in the stream, after a 1.
func canonical(sizes []int) []int {
	codes := slices.Repeat([]int{-1}, 2<<slices.Max(sizes))
	next := 1
	for size := 1; size <= slices.Max(sizes); size++ {
		next <<= 1
		for s, n := range sizes {
			if n == size {
				codes[next] = s
				next++
			}
		}
	}
	return codes
}

// sizes reads the header of a block with codes of its own.
func (r *deflateReader) sizes() (literals, distances []int) {
	l, d, n := 257+r.bits(5), 1+r.bits(5), 4+r.bits(4)
	var lengths [19]int
	for _, s := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:n] {
		lengths[s] = r.bits(3)
	}
	codes := canonical(lengths[:])
	var all []int
	for len(all) < l+d {
		switch s := r.symbol(codes); s {
		case 16:
			all = append(all, slices.Repeat(all[len(all)-1:], 3+r.bits(2))...)
		case 17:
			all = append(all, make([]int, 3+r.bits(3))...)
		case 18:
			all = append(all, make([]int, 11+r.bits(7))...)
		default:
			all = append(all, s)
		}
	}
	return all[:l], all[l : l+d]
}

// block reads the next block.
func (r *deflateReader) block() readBlock {
	b := readBlock{start: r.pos}
	from := len(r.out)
	r.bits(1)
	b.kind = r.bits(2)
	literals, distances := slices.Repeat([]int{8}, 288), slices.Repeat([]int{5}, 30)
	switch b.kind {
	case 0:
		r.pos = (r.pos + 7) &^ 7
		n := r.bits(16)
		if r.bits(16) != n^0xffff {
			panic("bad length of a stored block")
		}
		r.out = append(r.out, r.data[r.pos/8:][:n]...)
		r.pos += 8 * n
	case 1:
		copy(literals[144:], slices.Repeat([]int{9}, 112))
		copy(literals[256:], slices.Repeat([]int{7}, 24))
	case 2:
		literals, distances = r.sizes()
	}
	if b.kind != 0 {
		b.repeats = r.inflate(canonical(literals), canonical(distances))
	}
	b.data, b.end = r.out[from:], r.pos
	return b
}

var (
	lengthBases   = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	distanceBases = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
)

// inflate reads a block's symbols up to its end.
func (r *deflateReader) inflate(literals, distances []int) (list []repeat) {
	for last := (repeat{}); ; {
		s := r.symbol(literals)
		switch {
		case s < 256:
			r.out = append(r.out, byte(s))
			last.literals++
			continue
		case s == 256:
			return append(list, last)
		}
		length := lengthBases[s-257]
		if s >= 265 && s < 285 {
			length += r.bits((s - 261) / 4)
		}
		s = r.symbol(distances)
		distance := distanceBases[s]
		if s >= 4 {
			distance += r.bits(s/2 - 1)
		}
		r.far = max(r.far, distance)
		for range length {
			r.out = append(r.out, r.out[len(r.out)-distance])
		}
		list = append(list, repeat{last.literals, uint16(length), uint16(distance)})
		last = repeat{}
	}
}

// checkStream checks a stream of messages, each with its syncTail, and without
// its end: that it inflates to want here and in compress/flate, that it refers
// to nothing outside of the window, and that every block is of the kind that
// takes the fewest bits.
func checkStream(t *testing.T, windowBits int, stream, want []byte) {
	t.Helper()
	final := io.MultiReader(bytes.NewReader(stream), bytes.NewReader([]byte(lastTail[len(syncTail):])))
	if got, err := io.ReadAll(flate.NewReader(final)); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("compress/flate inflates %d bytes, want %d, equal = %t, error = %v", len(got), len(want), bytes.Equal(got, want), err)
	}
	r := &deflateReader{data: stream}
	for r.pos < 8*len(stream) {
		b := r.block()
		if b.kind == 0 && len(b.data) == 0 {
			continue // a flush
		}
		stored := 3 + -(b.start+3)&7 + 32 + 8*len(b.data)
		if b.kind == 0 {
			if b.end-b.start != stored {
				t.Fatalf("stored block of %d bits, want %d", b.end-b.start, stored)
			}
			continue // with what repeats it was compared is not known here
		}
		c := &coder{repeats: b.repeats}
		c.count(b.data)
		fixed, own := c.fixed(), c.build()
		if size := b.end - b.start; size != []int{stored, fixed, own}[b.kind] || size > min(stored, fixed, own) {
			t.Fatalf("block of kind %d with %d bits, want %d stored, %d fixed, %d with its own codes", b.kind, size, stored, fixed, own)
		}
	}
	if !bytes.Equal(r.out, want) {
		t.Fatalf("the stream inflates to %d bytes, want %d, or to others", len(r.out), len(want))
	}
	if r.far > 1<<windowBits {
		t.Errorf("a distance of %d, want %d at most", r.far, 1<<windowBits)
	}
}

// The examples of RFC 7692, sections 7.2.3.1, 7.2.3.2 and 7.2.3.6. The second
// has f2 00 11 00 00 there: it takes the H for a literal.
func TestDeflater_rfc(t *testing.T) {
	d := newDeflater(15)
	for _, row := range []struct{ message, wire string }{
		{"Hello", "f2 48 cd c9 c9 07 00"},
		{"Hello", "02 13 00 00"},
		{"", "00"},
	} {
		if got := deflateMessage(d, true, []byte(row.message)); !bytes.Equal(got, unhex(t, row.wire)) {
			t.Errorf("%q: % x, want %s", row.message, got, row.wire)
		}
	}
}

// TestDeflater_streams sends messages of all kinds and sizes, in chunks, with
// some of them dropped, and with and without context takeover.
func TestDeflater_streams(t *testing.T) {
	for windowBits := 8; windowBits <= 15; windowBits++ {
		t.Run(fmt.Sprintf("bits=%d", windowBits), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewSource(int64(windowBits)))
			d := newDeflater(windowBits)
			var stream, want []byte
			for i := range 100 {
				m := anyMessage(rnd, 1<<rnd.Intn(13))
				if i%50 == 49 {
					m = anyMessage(rnd, 150000)
				}
				d.thorough = rnd.Intn(2) == 0
				if rnd.Intn(4) == 0 {
					deflateMessage(d, false, m) // and sent as it is
				}
				stream = append(append(stream, deflateMessage(d, true, cut(rnd, m, 4)...)...), syncTail...)
				want = append(want, m...)

				alone := getDeflater(windowBits, len(m))
				alone.thorough = d.thorough
				out := append(deflateMessage(alone, false, cut(rnd, m, 4)...), syncTail...)
				putDeflater(alone)
				checkStream(t, windowBits, out, m)
			}
			checkStream(t, windowBits, stream, want)
			if n := len(d.past.b); n < d.past.size || !bytes.HasSuffix(want, d.past.b) {
				t.Errorf("a history of %d bytes, want the last %d at least", n, d.past.size)
			}
		})
	}
}

// Blocks of all kinds that begin at any bit, with runs of literals whose codes
// are as long as codes can be, are read as they were written.
func TestCoder_bits(t *testing.T) {
	fibonacci := make([]byte, 0, 4096) // for the longest codes there are
	for a, b, v := 1, 1, byte(0); len(fibonacci)+a < 2000; a, b, v = b, a+b, v+1 {
		fibonacci = append(fibonacci, bytes.Repeat([]byte{v}, a)...)
	}
	for before := range 8 {
		for n := range 40 {
			for _, src := range [][]byte{bytes.Repeat([]byte{0xff}, n), fibonacci[:50*n]} {
				var out, want []byte
				var b bitBuffer
				write := func(src []byte) {
					c := coder{repeats: []repeat{{literals: uint16(len(src))}}}
					out, b = c.block(out, b, src)
					want = append(want, src...)
				}
				for range before {
					write([]byte{0xff}) // 19 bits
				}
				write(src)
				r := &deflateReader{data: (&deflater{pending: b}).flush(out)}
				for len(r.out) < len(want) {
					r.block()
				}
				if !bytes.Equal(r.out, want) {
					t.Fatalf("% .20x behind %d bits is read as % .40x, want % .40x", src, 19*before, r.out, want)
				}
			}
		}
	}
}

// A repeat that one of its later bytes led to, longer than any other, and one
// that would be longer than there are.
func TestDeflater_grow(t *testing.T) {
	name, long := `{"version": `, string(jsonObject(rand.New(rand.NewSource(1)), 0))
	long += strings.ToUpper(long) + strings.ToLower(long)
	for _, row := range []struct {
		before, message string
		want            []repeat
	}{
		{`"user":"ann","user":"bob",`, `"user":"ann"`, []repeat{{0, 12, 26}, {}}},
		{name + long[:300] + name + "?", name + long[:300], []repeat{{0, 258, 325}, {0, 54, 325}, {}}},
	} {
		d := newDeflater(12)
		deflateMessage(d, true, []byte(row.before))
		if got := d.parse(nil, []byte(row.message), 0, len(row.message)); !slices.Equal(got, row.want) {
			t.Errorf("%.20q after %.20q: %v, want %v", row.message, row.before, got, row.want)
		}
	}
}

// What the peer has got when a message is flushed inside is all of it so far.
func TestDeflater_flushInside(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	d := newDeflater(10)
	var stream, want []byte
	r := new(deflateReader)
	for range 300 {
		chunk := anyMessage(rnd, 600)
		stream = append(d.flush(d.write(stream, chunk)), syncTail...)
		d.remember(chunk)
		want = append(want, chunk...)
		for r.data = stream; r.pos < 8*len(stream); {
			r.block()
		}
		if !bytes.Equal(r.out, want) {
			t.Fatalf("%d bytes inflated after %d", len(r.out), len(want))
		}
	}
}

// Nothing in the table is trusted, and its positions wrap around: whatever is
// in it and wherever the positions are, the output is right.
func TestDeflater_table(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for _, base := range []uint16{0, 1, 1 << 15, math.MaxUint16 - 500, math.MaxUint16} {
		for windowBits := 8; windowBits <= 15; windowBits++ {
			d := newDeflater(windowBits)
			d.base = base
			for i := range d.table {
				d.table[i] = base + uint16(rnd.Intn(4000)) - 2000
			}
			var stream, want []byte
			for range 10 {
				m := anyMessage(rnd, 2000)
				stream = append(append(stream, deflateMessage(d, true, m)...), syncTail...)
				want = append(want, m...)
			}
			checkStream(t, windowBits, stream, want)
		}
	}
}

// A dropped message leaves nothing that is referred to, nor a bit behind, and
// a deflater that was lent is as good as new.
func TestDeflater_forgets(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	m := jsonText(rnd, 3000)
	want := deflateMessage(newDeflater(12), false, m)

	lent := getDeflater(12, len(m))
	deflateMessage(lent, true, jsonText(rnd, 70000))
	lent.write(nil, m) // not flushed
	lent.reset(len(lent.table))
	if i := slices.IndexFunc(lent.table, func(at uint16) bool { return at != 0 }); i >= 0 {
		t.Errorf("after a reset: entry %d of the table is %d, want 0", i, lent.table[i])
	}
	if got := deflateMessage(lent, false, m); !bytes.Equal(got, want) {
		t.Errorf("after a reset: %d bytes, want %d, or others", len(got), len(want))
	}

	d := newDeflater(12)
	deflateMessage(d, false, m)
	if got := deflateMessage(d, true, m[:2]); !bytes.Equal(got, deflateMessage(newDeflater(12), true, m[:2])) {
		t.Errorf("after a message dropped: % x", got)
	}
	if string(d.past.b) != string(m[:2]) {
		t.Errorf("history = %q, want %q", d.past.b, m[:2])
	}
}

// What a connection keeps is at most twice its window and 8 KiB.
func TestDeflater_memory(t *testing.T) {
	for windowBits := 8; windowBits <= 15; windowBits++ {
		rnd := rand.New(rand.NewSource(1))
		d := newDeflater(windowBits)
		for range 10 {
			deflateMessage(d, true, anyMessage(rnd, 3<<windowBits))
		}
		size := int(unsafe.Sizeof(*d)) + cap(d.past.b) + int(unsafe.Sizeof(d.table[0]))*cap(d.table)
		if limit := 2<<windowBits + 8<<10; size > limit {
			t.Errorf("bits=%d: %d bytes, want %d at most", windowBits, size, limit)
		}
	}
}

// The sizes that issue 3 asks for, which are the same on every machine.
func TestDeflater_ratio(t *testing.T) {
	for _, row := range []struct{ windowBits, percent int }{{12, 31}, {15, 30}} {
		rnd := rand.New(rand.NewSource(1))
		d := newDeflater(row.windowBits)
		in, out := 0, 0
		for i := range 3000 {
			m := jsonObject(rnd, i)
			in += len(m)
			out += len(deflateMessage(d, true, m))
		}
		if 100*out > row.percent*in {
			t.Errorf("bits=%d: objects of %d bytes take %.1f %%, want %d %% at most", row.windowBits, in/3000, 100*float64(out)/float64(in), row.percent)
		}
	}
	for _, size := range []int{1 << 10, 16 << 10, 200 << 10} {
		m := jsonText(rand.New(rand.NewSource(1)), size)
		var std bytes.Buffer
		w, err := flate.NewWriter(&std, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(m)
		w.Flush()
		if got, want := len(deflateMessage(newDeflater(15), false, m)), std.Len()-len(syncTail); got > want {
			t.Errorf("%d bytes: %d deflated, want no more than %d as of compress/flate level 1", size, got, want)
		}
	}
}

// lightest returns the bits that symbols of these weights take in the best
// code there is: the sum of all inner nodes of a Huffman tree.
func lightest(weights []uint32) (sum int) {
	w := slices.Clone(weights)
	for len(w) > 1 {
		slices.Sort(w)
		w = append(w[2:], w[0]+w[1])
		sum += int(w[len(w)-1])
	}
	return sum
}

// TestCoder_assign gives codes to counts of all shapes: they must be complete,
// none longer than allowed, and as short as can be where the limit allows it.
func TestCoder_assign(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	fibonacci := []uint32{1, 1}
	for len(fibonacci) < 22 {
		fibonacci = append(fibonacci, fibonacci[len(fibonacci)-1]+fibonacci[len(fibonacci)-2])
	}
	powers := make([]uint32, 16)
	for i := range powers {
		powers[i] = 1 << i
	}
	rows := [][]uint32{{}, {0}, {5}, {0, 0, 1}, {1, 1}, {7, 0, 1}, {1, 1, 1}, fibonacci, powers,
		slices.Repeat([]uint32{1}, numLiterals), slices.Repeat([]uint32{200}, numLiterals), append(slices.Repeat([]uint32{1}, 200), 65335)}
	for range 1000 {
		counts := make([]uint32, rnd.Intn(numLiterals+1))
		for i := range counts {
			counts[i] = uint32(math.Exp(rnd.ExpFloat64())-1) * uint32(rnd.Intn(2)) % 65536
		}
		rows = append(rows, counts)
	}
	for _, counts := range rows {
		for _, limit := range []int{maxCodeSize, maxLengthCodeSize} {
			if limit == maxLengthCodeSize {
				counts = counts[:min(len(counts), numLengths)]
			}
			checkCodes(t, counts, limit)
		}
	}
}

func checkCodes(t *testing.T, counts []uint32, limit int) {
	t.Helper()
	c := new(coder)
	a := &c.literals
	copy(a.counts[:], counts)
	a.collect(numLiterals)
	c.assign(a, uint32(limit))
	kraft, longest := 0, 0
	var weights []uint32
	sizes := make([]int, numLiterals)
	for _, s := range a.used {
		sizes[s] = int(a.codes[s].size)
		longest = max(longest, sizes[s])
		kraft += 1 << (16 - sizes[s])
		weights = append(weights, a.counts[s])
	}
	if kraft != 1<<16 || longest > limit {
		t.Fatalf("counts %v: codes of up to %d bits, %d of %d used up, want %d bits at most", counts, longest, kraft, 1<<16, limit)
	}
	want := lightest(weights)
	slices.Sort(weights)
	huffman(weights) // now depths
	if got := a.size(&a.codes); got < want || got > want && int(weights[0]) <= limit {
		t.Fatalf("counts %v: %d bits, want %d", counts, got, want)
	}
	for code, s := range canonical(sizes) {
		if s < 0 {
			continue
		}
		x := a.codes[s]
		read := 1
		for i := range x.size {
			read = read<<1 | int(x.bits>>i&1)
		}
		if read != code {
			t.Fatalf("counts %v: code of %d is %b, want %b, both after a 1", counts, s, read, code)
		}
	}
}

// The symbols for lengths and distances are those of RFC 1951's tables.
func TestSymbols(t *testing.T) {
	for length := 3; length <= maxMatch; length++ {
		s, extra, _ := lengthSymbol(uint16(length))
		if got := lengthBases[s-257] + int(extra); got != length || length == maxMatch && s != 285 {
			t.Errorf("length %d: symbol %d and %d, which is %d", length, s, extra, got)
		}
	}
	for distance := 1; distance <= 1<<15; distance++ {
		s, extra, _ := distanceSymbol(uint16(distance))
		if got := distanceBases[s] + int(extra); got != distance {
			t.Errorf("distance %d: symbol %d and %d, which is %d", distance, s, extra, got)
		}
	}
}

// TestCoder_block checks that a block is of the kind with the fewest bits, for
// the same repeats, and that a floor is one.
func TestCoder_block(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	d := newDeflater(8)
	c := new(coder)
	buf := make([]byte, 0, 4<<10)
	for range 5000 {
		m := anyMessage(rnd, 300)
		if len(m) == 0 {
			continue
		}
		c.repeats = d.parse(c.repeats[:0], m, 0, len(m))
		if rnd.Intn(2) == 0 {
			d.remember(m)
		}
		c.count(m)
		floor, fixed, own := c.floor(len(m)), c.fixed(), c.build()
		if floor > own {
			t.Fatalf("%q: floor %d, but a block of %d bits", m, floor, own)
		}
		for n := range uint(8) {
			stored := 3 + int(-(n+3)&7) + 32 + 8*len(m)
			out, b := c.block(buf, bitBuffer{n: n}, m)
			if got, want := 8*len(out)+int(b.n)-int(n), min(stored, fixed, own); got != want {
				t.Fatalf("%q: %d bits after %d, want %d stored, %d fixed, %d with its own codes", m, got, n, stored, fixed, own)
			}
		}
	}
}

// The same for symbols whose codes a header can say in few bits, of which some
// are as short as the floor.
func TestCoder_floor(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	c := new(coder)
	c.literals.counts[127], c.literals.counts[endOfBlock] = 1, 1
	c.distances.counts[20], c.distances.counts[21] = 1, 1
	c.literals.collect(numLiterals)
	c.distances.collect(numDistances)
	if floor, own := c.floor(0), c.build(); floor != own {
		t.Errorf("floor %d, want the %d bits of the block", floor, own)
	}
	for range 20000 {
		for _, a := range []*alphabet{&c.literals, &c.distances} {
			size, room := numDistances, len(entropy)/2
			clear(a.counts[:])
			if a == &c.literals {
				size = numLiterals
				a.counts[endOfBlock] = 1
			}
			for range rnd.Intn(4) {
				s, n, k := rnd.Intn(size), rnd.Intn(33), 1<<rnd.Intn(3)
				if rnd.Intn(3) == 0 {
					s = 0
				}
				for ; n > 0 && s < size && room >= k; n-- {
					room -= k - int(a.counts[s])
					a.counts[s] = uint32(k)
					s++
				}
			}
			a.collect(size)
		}
		floor, own := c.floor(0), c.build()
		if floor > own {
			t.Fatalf("literals %v, distances %v: floor %d, but a block of %d bits", c.literals.counts, c.distances.counts[:numDistances], floor, own)
		}
	}
}

// FuzzDeflate: whatever is written, in whatever pieces, inflates to itself
// within its window, in the smallest kind of block. A piece for every byte of
// splits: its size, and whether it is remembered, sent, and ends a message.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte(""), []byte("\x00"), byte(0))
	f.Add([]byte("Hello, Hello, Hello"), []byte("\x05\x87\x03"), byte(8))
	f.Add(jsonText(rand.New(rand.NewSource(1)), 2000), bytes.Repeat([]byte("\x3f\x7f\xbf"), 12), byte(4))
	f.Add(bytes.Repeat([]byte("ab"), 800), []byte("\xff\x40\xff\x40\xff"), byte(1))
	f.Add(jsonText(rand.New(rand.NewSource(2)), 700), []byte("\x20\xa0\x3f"), byte(16+5))
	f.Add(jsonText(rand.New(rand.NewSource(3)), 9000), []byte("\x20\x7f"), byte(16+8+4))
	f.Fuzz(func(t *testing.T, data, splits []byte, windowBits byte) {
		bits := 8 + int(windowBits%8)
		d := newDeflater(bits)
		d.thorough = windowBits&8 != 0
		if windowBits&16 != 0 { // large enough for the quick search
			data = bytes.Repeat(data, 1+2*thoroughBlock/(1+len(data)))
		}
		var stream, want []byte
		whole := true // nothing is under way
		for i := 0; i <= len(splits); i++ {
			chunk, last, drop := data, true, false
			if i < len(splits) {
				chunk = data[:min(len(data), int(splits[i]&0x3f)*len(data)/64)]
				last, drop = splits[i]&0x40 != 0, splits[i]&0x80 != 0
			}
			data = data[len(chunk):]
			if whole && drop {
				d.flush(d.write(nil, chunk))
				continue
			}
			stream = d.write(stream, chunk)
			d.remember(chunk)
			want = append(want, chunk...)
			if whole = last; last {
				stream = append(d.flush(stream), syncTail...)
			}
		}
		checkStream(t, bits, stream, want)
	})
}
