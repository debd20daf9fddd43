package websocket

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

const (
	minMatch = 4   // bytes that the hash is of; DEFLATE allows 3, which seldom pays
	maxMatch = 258 // bytes; RFC 1951, section 3.2.5

	// maxBlock is how many bytes of input a block covers at most: as many as
	// a stored block can hold, so that every block can become one.
	maxBlock = 65535

	// farMatch is the distance in bytes beyond which a repeat of minMatch
	// bytes takes more bits than they do as literals of text.
	farMatch = 4096

	// longMatch is how many bytes a repeat must have to be taken as it is:
	// for a shorter one, a better one is searched for.
	longMatch = 32

	// growBlock is the size in bytes up to which a block is worth grow. In a
	// larger one, codes of its own make repeats so cheap that fewer of them
	// save nothing.
	growBlock = 512

	// thoroughBlock is the size in bytes up to which a block is searched
	// thoroughly in any case. With the quick search 1 KiB of JSON takes a fifth
	// less time, but comes out as 24.7 % with takeover and not as 21.4 %.
	thoroughBlock = 4096
)

// A deflater compresses the messages of one direction of a connection with
// DEFLATE (RFC 1951), as permessage-deflate wants them (RFC 7692, section 7).
// It does no I/O. It holds what context takeover keeps from one message to the
// next, less than twice its window and 8 KiB; all else is borrowed for the
// time of a call. One goroutine at a time may use it.
//
// A message is written in chunks. After each comes remember, unless nothing
// that refers to it will follow; after the last one comes flush.
//
// What was written and not remembered leaves no trace, so to send a message
// of one chunk uncompressed after all, drop the output of write and flush.
type deflater struct {
	past     slidingWindow // what the peer's inflater has seen; no repeat is from further back
	thorough bool          // large blocks are searched as small ones are

	// table has, for every hash of minMatch bytes, the position where they
	// were last seen, modulo 2^16. Nothing in it is trusted. An entry that
	// was overtaken by 2^16 bytes, or is of bytes that were not remembered,
	// is refused for its distance or for the bytes that are there now. So
	// positions may wrap around, and nothing counts a connection's bytes.
	table []uint16
	shift uint   // from a 32-bit hash to an index of table
	base  uint16 // position of the first byte after past

	pending bitBuffer // bits of the last byte of output, while it is not full
}

// newDeflater returns a deflater with a window of 2^windowBits bytes, 8 to 15.
func newDeflater(windowBits int) *deflater {
	d := &deflater{
		past:  slidingWindow{size: 1 << windowBits},
		table: make([]uint16, 1<<min(windowBits+1, max(12, windowBits-1))),
	}
	d.reset(len(d.table))
	return d
}

// deflaterPools has the deflaters that getDeflater lends, by windowBits.
var deflaterPools [16]sync.Pool

// getDeflater lends a deflater for one message of about size bytes, to a
// connection that keeps none. It goes back with putDeflater.
func getDeflater(windowBits, size int) *deflater {
	d, ok := deflaterPools[windowBits].Get().(*deflater)
	if !ok {
		d = newDeflater(windowBits)
	}
	d.reset(size)
	return d
}

// putDeflater takes back what getDeflater lent.
func putDeflater(d *deflater) {
	deflaterPools[bits.Len(uint(d.past.size))-1].Put(d)
}

// reset makes d as good as new for a stream of about size bytes. Only so much
// of the table is put to use, and cleared, as they can fill: a small message
// must not pay for a large window. Clearing it is for nothing but that the
// output depends on nothing but the input.
func (d *deflater) reset(size int) {
	n := bits.Len(uint(min(max(size, 1<<8), len(d.table)) - 1))
	clear(d.table[:1<<n])
	d.shift = uint(32 - n)
	d.base = 1 << 15 // as far as can be from the zeros in the table
	d.past.b = d.past.b[:0]
	d.pending = bitBuffer{}
}

// write compresses src and appends it to dst in whole blocks, but for the last
// bits, which wait in d for the next write or flush. It returns the extended
// slice, which shares dst's array if it fitted. dst and src must not overlap.
func (d *deflater) write(dst, src []byte) []byte {
	c := coderPool.Get().(*coder)
	for from := 0; from < len(src); {
		to := min(from+maxBlock, len(src))
		if d.thorough || to-from <= thoroughBlock {
			c.repeats = d.parse(c.repeats[:0], src, from, to)
		} else {
			c.repeats = d.parseQuickly(c.repeats[:0], src, from, to)
		}
		dst, d.pending = c.block(dst, d.pending, src[from:to])
		from = to
	}
	coderPool.Put(c)
	return dst
}

// flush appends the end of a message to dst: an empty stored block without its
// lengths, the four bytes 00 00 FF FF. RFC 7692, section 7.2.1, has them
// removed from every message. They must follow if the message goes on and the
// peer is to see all that was written of it so far.
func (d *deflater) flush(dst []byte) []byte {
	b := d.pending.add(0, 3)
	d.pending = bitBuffer{}
	for ; b.n > 0; b.n -= min(b.n, 8) {
		dst = append(dst, byte(b.acc))
		b.acc >>= 8
	}
	return dst
}

// remember makes src, all of the last write, part of what later writes refer
// to. The caller has sent it or is sure to; it cannot be undone.
func (d *deflater) remember(src []byte) {
	d.base += uint16(len(src))
	d.past.add(src)
}

// A repeat is a part of a block: literals, which stand for themselves, and
// then length bytes that were there distance bytes before. The last part of a
// block has length 0.
type repeat struct{ literals, length, distance uint16 }

// parse appends to list the repeats that make up src[from:to].
//
// A place in src is compared with one other only, where its four bytes were
// last seen. That place is near, so its distance takes few bits, but seldom
// is it the one with the longest repeat. So what is found is improved from
// there: by a later start, by grow, and by absorb.
func (d *deflater) parse(list []repeat, src []byte, from, to int) []repeat {
	i, lit := from, from // lit: the end of the last repeat
	for i+minMatch <= to {
		v := binary.LittleEndian.Uint32(src[i:])
		length, distance := 0, d.swap(v, i)
		if d.reaches(i, distance) {
			length = d.extend(src, i, to, v, distance)
		}
		if length == 0 || length == minMatch && distance > farMatch {
			// Where nothing was found for long, nothing will be: go faster.
			i += 1 + (i-lit)>>5
			continue
		}
		for length < longMatch && i+1+minMatch <= to {
			// A repeat from the next byte is better if it ends later, or there
			// too but much nearer: absorb may win back the byte.
			n, dist := d.match(src, i+1, to)
			if n < length-1 || n == length-1 && 2*dist >= distance {
				break
			}
			i, length, distance = i+1, n, dist
		}
		seen := i + 1
		if to-from <= growBlock {
			length, distance = d.grow(src, i, to, length, distance)
		}
		end := i + length
		list, i, lit = d.absorb(list, src, lit, i, end, distance)
		list = append(list, repeat{uint16(i - lit), uint16(end - i), uint16(distance)})
		d.insert(src, seen, end)
		i, lit = end, end
	}
	return append(list, repeat{literals: uint16(to - lit)})
}

// parseQuickly is parse for large blocks: 16 KiB of JSON take a third less
// time, and come out as 21.9 % and not as 19.4 %. The places it compares are
// where six bytes were last seen: so what it finds is mostly long, and worth
// taking as it is. Only its start is looked for.
func (d *deflater) parseQuickly(list []repeat, src []byte, from, to int) []repeat {
	i, lit := from, from
	for i+8 <= to {
		v := binary.LittleEndian.Uint64(src[i:])
		slot := d.slotOfSix(v)
		length, distance := 0, int(d.base+uint16(i)-*slot)
		*slot = d.base + uint16(i)
		if d.reaches(i, distance) {
			length = d.extend(src, i, to, uint32(v), distance)
		}
		if length == 0 {
			i += 1 + (i-lit)>>5
			continue
		}
		end := i + length
		i = d.before(src, i, max(lit, end-maxMatch), distance)
		list = append(list, repeat{uint16(i - lit), uint16(end - i), uint16(distance)})
		if k := end - 2; k+8 <= to {
			*d.slotOfSix(binary.LittleEndian.Uint64(src[k:])) = d.base + uint16(k)
		}
		i, lit = end, end
	}
	return append(list, repeat{literals: uint16(to - lit)})
}

// slotOfSix returns the entry of the table for the first six of the bytes v.
func (d *deflater) slotOfSix(v uint64) *uint16 {
	const factor = 0x9E3779B97F4A7C15 // as hashFactor
	return &d.table[uint32(v<<16*factor>>32)>>(d.shift&31)]
}

// match returns the repeat that begins with src[i] and goes to src[to] at
// most, or length 0, and enters i into the table. parse does the same in
// line, where it mostly finds nothing.
func (d *deflater) match(src []byte, i, to int) (length, distance int) {
	v := binary.LittleEndian.Uint32(src[i:])
	distance = d.swap(v, i)
	if d.reaches(i, distance) {
		length = d.extend(src, i, to, v, distance)
	}
	return length, distance
}

// hashFactor is the odd number next to 2^32 divided by the golden ratio: it
// spreads the difference of two words over the upper bits of their products.
const hashFactor = 0x9E3779B1

// swap enters the position i of the four bytes v into the table, and returns
// how far back they were last seen; 0 is 2^16.
func (d *deflater) swap(v uint32, i int) int {
	slot := &d.table[v*hashFactor>>(d.shift&31)]
	at := d.base + uint16(i)
	last := *slot
	*slot = at
	return int(at - last)
}

// reaches reports whether the peer's window has a byte that many before i.
func (d *deflater) reaches(i, distance int) bool {
	return uint(distance-1) < uint(min(i+len(d.past.b), d.past.size))
}

// extend returns how many of the bytes from src[i], to src[to] at most, were
// there distance bytes before too, and 0 if less than minMatch. v is the first
// four.
func (d *deflater) extend(src []byte, i, to int, v uint32, distance int) int {
	to = min(to, i+maxMatch)
	if j := i - distance; j >= 0 {
		if binary.LittleEndian.Uint32(src[j:]) != v {
			return 0
		}
		return minMatch + commonPrefix(src[j+minMatch:], src[i+minMatch:to])
	}
	j := i - distance + len(d.past.b)
	if j+minMatch > len(d.past.b) || binary.LittleEndian.Uint32(d.past.b[j:]) != v {
		return 0
	}
	length := minMatch + commonPrefix(d.past.b[j+minMatch:], src[i+minMatch:to])
	if j+length == len(d.past.b) {
		length += commonPrefix(src, src[i+length:to]) // past goes on in src
	}
	return length
}

// grow looks for a repeat that has all of src[i:i+length] and more, and
// returns the length and distance of the longest it found.
//
// It asks where the last three bytes, or two, or the last one, and what comes
// after them were last seen together: if the others come before them there,
// all are repeated from there. So a name and a value that were seen together
// make one repeat, though the name was last seen with another value.
func (d *deflater) grow(src []byte, i, to, length, distance int) (int, int) {
	for overlap := minMatch - 1; overlap > 0 && length < longMatch; {
		p := i + length - overlap
		if p+minMatch > to {
			break
		}
		n, dist := d.match(src, p, to)
		if n <= overlap || d.before(src, p, i, dist) > i {
			overlap--
			continue
		}
		length, distance = min(p+n-i, maxMatch), dist
		overlap = minMatch - 1
	}
	return length, distance
}

// absorb extends the repeat src[i:end] to the left, over the literals since
// lit, and over whole repeats of the list: one takes fewer bits than two. It
// returns the list without these, the new i, and where the literals before it
// begin.
func (d *deflater) absorb(list []repeat, src []byte, lit, i, end, distance int) ([]repeat, int, int) {
	for {
		i = d.before(src, i, max(lit, end-maxMatch), distance)
		if i > lit || len(list) == 0 {
			break
		}
		last := list[len(list)-1]
		start := i - int(last.length)
		if end-start > maxMatch || d.before(src, i, start, distance) > start {
			break
		}
		list = list[:len(list)-1]
		i, lit = start, start-int(last.literals)
	}
	return list, i, lit
}

// before returns the lowest index from low on such that src from there to i
// was there distance bytes before too.
func (d *deflater) before(src []byte, i, low, distance int) int {
	for i > low && i > distance && src[i-1] == src[i-1-distance] {
		i--
	}
	for h := i - distance + len(d.past.b); i > low && i <= distance && h > 0 && src[i-1] == d.past.b[h-1]; h-- {
		i--
	}
	return i
}

// insert enters positions from i to before end into the table. Every third is
// enough: absorb finds the start of what repeats.
func (d *deflater) insert(src []byte, i, end int) {
	for end = min(end, len(src)-minMatch+1); i < end; i += 3 {
		v := binary.LittleEndian.Uint32(src[i:])
		d.table[v*hashFactor>>(d.shift&31)] = d.base + uint16(i)
	}
}

// commonPrefix returns how many bytes a and b have in common at their start.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)>>3
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
