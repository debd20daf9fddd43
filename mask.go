package websocket

import (
	"encoding/binary"
	"math/bits"
)

// Mask applies the masking key to b in place and returns the position in the
// key at which the next byte of the same frame goes on. pos is the position
// for b[0]: 0 for a frame's first byte, later what the call before returned
// (any number of bytes already masked will do: only its remainder by four
// counts). Masking twice restores b. See RFC 6455, section 5.3.
func Mask(key [4]byte, pos int, b []byte) int {
	return MaskCopy(b, b, key, pos)
}

// MaskCopy sets dst to src masked with key and returns the position for the
// next byte, as [Mask] does; src is left as it is. dst must be at least as
// long as src; the two must be the same array from the same start, or not
// overlap.
func MaskCopy(dst, src []byte, key [4]byte, pos int) int {
	pos &= 3
	next := (pos + len(src)) & 3
	dst = dst[:len(src)]

	// Turned by pos, the key is the same for every four bytes from here on,
	// and two of it side by side mask eight bytes at once.
	k := bits.RotateLeft32(binary.LittleEndian.Uint32(key[:]), -8*pos)
	kk := uint64(k)<<32 | uint64(k)
	for len(src) >= 32 {
		s, d := src[:32:32], dst[:32:32]
		binary.LittleEndian.PutUint64(d[0:], binary.LittleEndian.Uint64(s[0:])^kk)
		binary.LittleEndian.PutUint64(d[8:], binary.LittleEndian.Uint64(s[8:])^kk)
		binary.LittleEndian.PutUint64(d[16:], binary.LittleEndian.Uint64(s[16:])^kk)
		binary.LittleEndian.PutUint64(d[24:], binary.LittleEndian.Uint64(s[24:])^kk)
		src, dst = src[32:], dst[32:]
	}
	for len(src) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^kk)
		src, dst = src[8:], dst[8:]
	}
	for i, b := range src {
		dst[i] = b ^ byte(k)
		k = bits.RotateLeft32(k, -8)
	}
	return next
}
