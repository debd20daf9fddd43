package websocket

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"sync"
)

const (
	numLiterals  = 286 // literals, endOfBlock, and the codes for lengths
	numDistances = 30
	numLengths   = 19 // symbols in which a block's header writes the sizes of codes

	endOfBlock = 256 // the literal that is none

	// maxCodeSize is how many bits a code has at most. RFC 1951, section
	// 3.2.7, allows 15, which makes JSON of 16 KiB 0.2 % smaller. But zlib and
	// compress/flate look up codes of 9 bits by a single step, and the latter
	// allocates memory for longer ones.
	maxCodeSize       = 9
	maxLengthCodeSize = 7
)

// A bitBuffer holds the last bits of the output, the first in the lowest bit.
type bitBuffer struct {
	acc uint64
	n   uint // bits in acc
}

// add appends the size lowest bits of v, which must have no others.
func (b bitBuffer) add(v, size uint16) bitBuffer {
	return bitBuffer{b.acc | uint64(v)<<(b.n&63), b.n + uint(size)}
}

// spill moves the whole bytes to out and returns the rest of both. It writes
// eight bytes whatever there is to move, which is faster than to choose.
func (b bitBuffer) spill(out []byte) ([]byte, bitBuffer) {
	binary.LittleEndian.PutUint64(out, b.acc)
	return out[b.n>>3:], bitBuffer{b.acc >> (b.n & 56), b.n & 7}
}

// A code is what stands for a symbol: size bits, the first in the lowest.
type code struct{ bits, size uint16 }

// An alphabet is a set of symbols, how often a block has each, and the codes
// that make the block short.
type alphabet struct {
	counts [numLiterals]uint32
	codes  [numLiterals]code // of the symbols used
	used   []uint16          // the symbols, in order, that get a code
	array  [numLiterals]uint16
}

// collect lists the symbols used, of the first n. There are always two, as
// some decoders refuse an alphabet of less.
func (a *alphabet) collect(n int) {
	a.used = a.array[:0]
	for s, k := range a.counts[:n] {
		if k > 0 {
			a.used = append(a.used, uint16(s))
		}
	}
	for s := uint16(0); len(a.used) < 2; s++ {
		if a.counts[s] == 0 {
			a.used = append(a.used, s)
			slices.Sort(a.used)
		}
	}
}

// size returns how many bits the symbols counted take with the codes.
func (a *alphabet) size(codes *[numLiterals]code) (n int) {
	for _, s := range a.used {
		n += int(a.counts[s]) * int(codes[s].size)
	}
	return n
}

// end returns how many sizes of codes a header must have.
func (a *alphabet) end() int { return int(a.used[len(a.used)-1]) + 1 }

// A coder turns the repeats of a block into bits, as whichever kind of block
// takes the fewest. Coders are pooled; a connection has none of its own.
type coder struct {
	repeats   []repeat
	bytes     []byte // its literals, one after the other
	literals  alphabet
	distances alphabet
	lengths   alphabet
	extra     int      // bits that follow the codes for lengths and distances
	sizes     []uint16 // the header's list of sizes: numLengths symbol, its extra bits << 8

	keys, nodes [numLiterals]uint32 // see assign
}

var coderPool = sync.Pool{New: func() any {
	return &coder{
		repeats: make([]repeat, 0, maxBlock/minMatch+2),
		bytes:   make([]byte, 0, maxBlock+8),
		sizes:   make([]uint16, 0, numLiterals+numDistances),
	}
}}

// block appends the block of c.repeats, whose bytes are src, to dst, of which b
// has the last bits. It returns both as they are after it.
func (c *coder) block(dst []byte, b bitBuffer, src []byte) ([]byte, bitBuffer) {
	c.count(src)
	fixed := c.fixed()
	stored := 3 + int(-(b.n+3)&7) + 32 + 8*len(src)
	best := min(fixed, stored)
	if c.floor(len(src)) < best {
		best = min(best, c.build())
	}

	start := len(dst)
	dst = slices.Grow(dst, best/8+16)
	out := dst[start:cap(dst)]
	switch best {
	case stored:
		out, b = b.add(0, 3).spill(out)
		out, b = b.add(0, uint16(-b.n&7)).spill(out)
		binary.LittleEndian.PutUint32(out, uint32(len(src))|^uint32(len(src))<<16)
		out = out[4+copy(out[4:], src):]
	case fixed:
		out, b = c.encode(out, b.add(1<<1, 3), src, &fixedLiterals, &fixedDistances)
	default:
		out, b = c.writeHeader(out, b.add(2<<1, 3))
		out, b = c.encode(out, b, src, &c.literals.codes, &c.distances.codes)
	}
	return dst[:cap(dst)-len(out)], b
}

// count counts the symbols of the block.
func (c *coder) count(src []byte) {
	clear(c.literals.counts[:])
	clear(c.distances.counts[:numDistances])
	c.extra = 0
	c.bytes = c.bytes[:0]
	for _, r := range c.repeats {
		c.keep(src, int(r.literals))
		if r.length == 0 {
			break
		}
		src = src[int(r.literals)+int(r.length):]
		symbol, _, n := lengthSymbol(r.length)
		c.literals.counts[symbol]++
		c.extra += int(n)
		symbol, _, n = distanceSymbol(r.distance)
		c.distances.counts[symbol]++
		c.extra += int(n)
	}
	for _, b := range c.bytes {
		c.literals.counts[b]++
	}
	c.literals.counts[endOfBlock] = 1
	c.literals.collect(numLiterals)
	c.distances.collect(numDistances)
}

// keep puts the first n bytes of src to the literals of the block. They are
// counted all at once: to loop over a few again and again takes longer, since
// the processor cannot guess how often. For the same reason eight are copied
// where there may be less.
func (c *coder) keep(src []byte, n int) {
	k := len(c.bytes)
	if n > 8 || len(src) < 8 || k+8 > cap(c.bytes) {
		c.bytes = append(c.bytes, src[:n]...)
		return
	}
	binary.LittleEndian.PutUint64(c.bytes[k:k+8], binary.LittleEndian.Uint64(src))
	c.bytes = c.bytes[:k+n]
}

// encode writes the block's symbols with the codes, and the end of the block.
func (c *coder) encode(out []byte, b bitBuffer, src []byte, literals, distances *[numLiterals]code) ([]byte, bitBuffer) {
	for _, r := range c.repeats {
		run := src[:r.literals]
		for ; len(run) > 5; run = run[5:] { // 5*9 bits fit behind 7 and the 3 of the block's head
			for _, v := range run[:5] {
				b = b.add(literals[v].bits, literals[v].size)
			}
			out, b = b.spill(out)
		}
		for _, v := range run {
			b = b.add(literals[v].bits, literals[v].size)
		}
		out, b = b.spill(out)
		if r.length == 0 {
			break
		}
		src = src[int(r.literals)+int(r.length):]
		symbol, extra, n := lengthSymbol(r.length) // 9+5 bits at most, and then 9+13
		b = b.add(literals[symbol].bits, literals[symbol].size).add(extra, n)
		symbol, extra, n = distanceSymbol(r.distance)
		b = b.add(distances[symbol].bits, distances[symbol].size).add(extra, n)
		out, b = b.spill(out)
	}
	end := literals[endOfBlock]
	return b.add(end.bits, end.size).spill(out)
}

// lengthSymbol returns the symbol for a length and the n extra bits that
// follow its code: RFC 1951, section 3.2.5.
func lengthSymbol(length uint16) (symbol, extra, n uint16) {
	x := lengthSymbols[uint8(length-3)]
	n = x >> 9
	return x & 0x1ff, (length - 3) & (1<<n - 1), n
}

// lengthSymbols has, for lengths from 3, the symbol, and n << 9. From 11 up,
// four symbols share every power of two; 258 has one of its own.
var lengthSymbols = func() (t [256]uint16) {
	for v := range uint16(len(t)) {
		switch n := uint16(bits.Len16(v)) - 3; {
		case v < 8:
			t[v] = 257 + v
		case v == 255:
			t[v] = 285
		default:
			t[v] = 261 + 4*n + v>>n&3 | n<<9
		}
	}
	return t
}()

// distanceSymbol does for a distance what lengthSymbol does for a length: from
// 5 up, two symbols share every power of two.
func distanceSymbol(distance uint16) (symbol, extra, n uint16) {
	v := distance - 1
	if v < 4 {
		return v, 0, 0
	}
	n = uint16(bits.Len16(v)) - 2
	return 2 + 2*n + v>>n&1, v & (1<<n - 1), n
}

// The codes of blocks that bring none: RFC 1951, section 3.2.6.
var fixedLiterals, fixedDistances = fixedCodes()

func fixedCodes() (literals, distances [numLiterals]code) {
	for s := range uint16(numLiterals) {
		switch {
		case s < 144:
			literals[s] = code{0x30 + s, 8}
		case s < 256:
			literals[s] = code{0x190 + s - 144, 9}
		case s < 280:
			literals[s] = code{s - 256, 7}
		default:
			literals[s] = code{0xc0 + s - 280, 8}
		}
		literals[s].bits = bits.Reverse16(literals[s].bits) >> (16 - literals[s].size)
	}
	for s := range uint16(numDistances) {
		distances[s] = code{bits.Reverse16(s) >> 11, 5}
	}
	return literals, distances
}

// fixed returns how many bits the block takes with the fixed codes.
func (c *coder) fixed() int {
	return 3 + c.literals.size(&fixedLiterals) + c.distances.size(&fixedDistances) + c.extra
}

// build finds the best codes for the symbols counted, and for the header that
// describes them. It returns how many bits the block takes with them.
func (c *coder) build() int {
	c.assign(&c.literals, maxCodeSize)
	c.assign(&c.distances, maxCodeSize)
	c.listSizes()
	c.lengths.collect(numLengths)
	c.assign(&c.lengths, maxLengthCodeSize)
	n := 3 + 14 + 3*c.order() + c.lengths.size(&c.lengths.codes)
	for _, s := range c.sizes {
		n += int(lengthExtra[s&0xff])
	}
	return n + c.literals.size(&c.literals.codes) + c.distances.size(&c.distances.codes) + c.extra
}

// lengthOrder is the order in which a header has the sizes of the codes for
// sizes: those that are likely to be 0 come last, and are left out.
var lengthOrder = [numLengths]uint16{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// lengthExtra is how many bits follow the code for a size.
var lengthExtra = [numLengths]uint16{16: 2, 17: 3, 18: 7}

// order returns how many sizes in lengthOrder the header has: all but
// the zeros at its end.
func (c *coder) order() int {
	n := numLengths
	for !slices.Contains(c.lengths.used, lengthOrder[n-1]) {
		n--
	}
	return n
}

// listSizes writes the sizes of all codes in turn the way of RFC 1951, section
// 3.2.7: 0 to 15 is a size, 16 repeats the last 3 to 6 times, 17 is 3 to 10
// zeros and 18 is 11 to 138.
func (c *coder) listSizes() {
	clear(c.lengths.counts[:numLengths])
	c.sizes = c.sizes[:0]
	size, run, next := uint16(0), 0, 0 // the sizes before next end in run times size
	add := func(a *alphabet, base int) {
		for _, s := range a.used {
			if gap := base + int(s) - next; gap > 0 {
				if size != 0 {
					c.listRun(size, run)
					size, run = 0, 0
				}
				run += gap
			}
			if a.codes[s].size != size {
				c.listRun(size, run)
				size, run = a.codes[s].size, 0
			}
			run++
			next = base + int(s) + 1
		}
	}
	add(&c.literals, 0)
	add(&c.distances, c.literals.end())
	c.listRun(size, run)
}

// listRun lists one size run times.
func (c *coder) listRun(size uint16, run int) {
	for size == 0 && run >= 3 {
		if n := min(run, 138); n >= 11 {
			c.listSize(18, n-11)
			run -= n
		} else {
			n = min(run, 10)
			c.listSize(17, n-3)
			run -= n
		}
	}
	if run > 0 {
		c.listSize(size, 0)
		run--
	}
	for run >= 3 {
		n := min(run, 6)
		c.listSize(16, n-3)
		run -= n
	}
	for ; run > 0; run-- {
		c.listSize(size, 0)
	}
}

// listSize lists a symbol and the value of its extra bits.
func (c *coder) listSize(symbol uint16, extra int) {
	c.lengths.counts[symbol]++
	c.sizes = append(c.sizes, symbol|uint16(extra)<<8)
}

// writeHeader writes what build found.
func (c *coder) writeHeader(out []byte, b bitBuffer) ([]byte, bitBuffer) {
	order := c.order()
	b = b.add(uint16(c.literals.end()-257), 5).add(uint16(c.distances.end()-1), 5).add(uint16(order-4), 4)
	for _, s := range lengthOrder[:order] {
		size := uint16(0)
		if slices.Contains(c.lengths.used, s) {
			size = c.lengths.codes[s].size
		}
		out, b = b.add(size, 3).spill(out)
	}
	for _, v := range c.sizes {
		x := c.lengths.codes[v&0xff]
		out, b = b.add(x.bits, x.size).add(v>>8, lengthExtra[v&0xff]).spill(out)
	}
	return out, b
}

// assign gives the symbols used the codes by which they take the fewest bits,
// none more than limit: Huffman's, and where that has longer codes, one near.
func (c *coder) assign(a *alphabet, limit uint32) {
	keys, depths := c.keys[:len(a.used)], c.nodes[:len(a.used)]
	for i, s := range a.used {
		keys[i] = max(a.counts[s], 1)<<9 | uint32(s)
	}
	slices.Sort(keys)
	for {
		for i, k := range keys {
			depths[i] = k >> 9
		}
		huffman(depths)
		if depths[0] <= limit {
			break
		}
		// Halving the counts, but not to 0, makes them more alike and the tree
		// less deep; when all are 1 it has 9 levels, or 5 of numLengths.
		for i, k := range keys {
			keys[i] = (k>>9+1)>>1<<9 | k&0x1ff
		}
	}
	var next [maxCodeSize + 2]uint16
	for i, k := range keys {
		a.codes[k&0x1ff].size = uint16(depths[i])
		next[depths[i]+1]++
	}
	// "All codes of a given bit length have lexicographically consecutive
	// values, in the same order as the symbols they represent", and follow
	// the shorter ones: RFC 1951, section 3.2.2.
	for i := 1; i < len(next); i++ {
		next[i] = (next[i-1] + next[i]) << 1
	}
	for _, s := range a.used {
		x := &a.codes[s]
		x.bits = bits.Reverse16(next[x.size]) >> (16 - x.size)
		next[x.size]++
	}
}

// huffman replaces weights, two or more in ascending order, with the depths
// of leaves of these weights in a Huffman tree. It works in place, by the
// method of Moffat and Katajainen (1995).
func huffman(a []uint32) {
	n := len(a)
	// Inner nodes arise in ascending order too, so the two lightest are each
	// the next leaf or the next inner node without a parent. A node's slot is
	// the weight until it has a parent, and then that parent's index.
	leaf, root := 0, 0
	for next := range n - 1 {
		var sum uint32
		for range 2 {
			if leaf == n || root < next && a[root] < a[leaf] {
				sum += a[root]
				a[root] = uint32(next)
				root++
			} else {
				sum += a[leaf]
				leaf++
			}
		}
		a[next] = sum
	}
	a[n-2] = 0 // the root's depth
	for i := n - 3; i >= 0; i-- {
		a[i] = a[a[i]] + 1
	}
	// Level by level: nodes that are not inner are leaves, the heaviest first.
	inner, out := n-2, n-1
	for depth, nodes := uint32(0), 1; nodes > 0; depth++ {
		leaves := nodes
		for inner >= 0 && a[inner] == depth {
			leaves--
			inner--
		}
		nodes = 2 * (nodes - leaves)
		for ; leaves > 0; leaves-- {
			a[out] = depth
			out--
		}
	}
}

// floor returns a number of bits that no block with codes of its own can be
// shorter than, or 0. In a small message that is often more than the fixed
// codes take, and found much sooner than the codes.
//
// It adds up the entropy of the symbols, which no code can beat, and what the
// header takes if every code in it has a single bit.
func (c *coder) floor(size int) int {
	if size+1 >= len(entropy) {
		return 0
	}
	n := c.literals.floor() + c.distances.floor()
	if c.distances.used[0] == 0 {
		n -= 7 // its first run may be part of the last of the literals'
	}
	// Some literal has a code of no more than log2 of their number, and that
	// the header can say this size implies how many it has.
	order := numLengths
	for int(lengthOrder[order-1]) != bits.Len(uint(len(c.literals.used)))-1 {
		order--
	}
	return 3 + 14 + 3*order + n + c.extra
}

// floor returns the least that the symbols counted and their part of the
// header can take.
//
// In the header, runs of symbols used and of others alternate. A run takes a
// bit for each symbol, or at least four for up to 12, or seven. As only one
// code has a single bit, either the runs of the one kind or those of the other
// begin with a code of two bits or more.
func (a *alphabet) floor() int {
	var sum float64
	total, n, runs, run, next := uint32(0), 0, 0, 0, uint16(0)
	for _, s := range a.used {
		if s > next {
			n += runFloor(run) + runFloor(int(s-next))
			runs++
			run = 0
		}
		run++
		next = s + 1
		total += a.counts[s]
		sum += entropy[a.counts[s]]
	}
	return n + runFloor(run) + runs + int(entropy[total]-sum)
}

// runFloor returns the fewest bits for a run of n symbols in a header: one for
// each of up to 4, or one and 1+2 to repeat it 6 times, or 1+3 for 10 that are
// not used; from 13 on, two repetitions or 1+7.
func runFloor(n int) int {
	if n > 12 {
		return 7
	}
	return min(n, 4)
}

// entropy[n] is n*log2(n): total minus the sum over all symbols of a message
// are the bits that it must take.
var entropy = func() (t [257]float64) {
	for n := 2; n < len(t); n++ {
		t[n] = float64(n) * math.Log2(float64(n))
	}
	return t
}()
