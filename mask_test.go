package websocket

import (
	"bytes"
	"testing"
)

// maskSlowly is the algorithm of RFC 6455, section 5.3, byte by byte:
// "j = i MOD 4; transformed-octet-i = original-octet-i XOR masking-key-octet-j".
func maskSlowly(key [4]byte, pos int, p []byte) (masked []byte, next int) {
	masked = make([]byte, len(p))
	for i, b := range p {
		masked[i] = b ^ key[(pos+i)&3]
	}
	return masked, (pos + len(p)) & 3
}

// maskInput is n bytes, no eight of them alike.
func maskInput(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>5)
	}
	return b
}

// F17 is the second key.
var maskKeys = [][4]byte{{0x37, 0xfa, 0x21, 0x3d}, {}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1}}

// Every length at every alignment and every position in the key.
func TestMask(t *testing.T) {
	const most, guard = 512, 0x5A
	for n := range most + 1 {
		in := maskInput(n)
		for _, key := range maskKeys {
			for pos := range 4 {
				want, wantNext := maskSlowly(key, pos, in)
				for align := range 8 {
					room := bytes.Repeat([]byte{guard}, align+n+8)
					b := room[align : align+n]
					copy(b, in)
					if got := Mask(key, pos, b); got != wantNext || !bytes.Equal(b, want) {
						t.Fatalf("Mask(%x, %d, %d bytes at alignment %d) = %d, % x, want %d, % x", key, pos, n, align, got, b, wantNext, want)
					}
					Mask(key, pos, b)
					if !bytes.Equal(b, in) {
						t.Fatalf("Mask(%x, %d, %d bytes at alignment %d) twice = % x, want % x", key, pos, n, align, b, in)
					}
					checkGuard(t, room[:align], guard)
					checkGuard(t, room[align+n:], guard)
				}
			}
		}
	}
}

func TestMaskCopy(t *testing.T) {
	const most, guard = 130, 0x5A
	key := maskKeys[0]
	for n := range most + 1 {
		in := maskInput(n)
		for pos := range 4 {
			want, wantNext := maskSlowly(key, pos, in)
			for align := range 64 {
				src := append(make([]byte, align>>3), in...)[align>>3:]
				room := bytes.Repeat([]byte{guard}, align&7+n+40)
				dst := room[align&7:] // longer than src
				if got := MaskCopy(dst, src, key, pos); got != wantNext || !bytes.Equal(dst[:n], want) {
					t.Fatalf("MaskCopy(%x, %d, %d bytes, alignments %d and %d) = %d, % x, want %d, % x", key, pos, n, align>>3, align&7, got, dst[:n], wantNext, want)
				}
				if !bytes.Equal(src, in) {
					t.Fatalf("MaskCopy of %d bytes at %d left src as % x, want % x", n, pos, src, in)
				}
				checkGuard(t, room[:align&7], guard)
				checkGuard(t, dst[n:], guard)
			}
		}
	}
}

// checkGuard wants nothing but guard bytes in b.
func checkGuard(t *testing.T, b []byte, guard byte) {
	t.Helper()
	if !bytes.Equal(b, bytes.Repeat([]byte{guard}, len(b))) {
		t.Fatalf("bytes beside the destination: % x, want %#x only", b, guard)
	}
}

// Masked piece by piece, a payload comes out as in one go.
func TestMask_pieces(t *testing.T) {
	in := maskInput(100)
	want, _ := maskSlowly(maskKeys[0], 0, in)
	for size := 1; size <= len(in); size++ {
		b, pos := bytes.Clone(in), 0
		for i := 0; i < len(b); i += size {
			pos = Mask(maskKeys[0], pos, b[i:min(i+size, len(b))])
		}
		if !bytes.Equal(b, want) {
			t.Errorf("Mask in pieces of %d: % x, want % x", size, b, want)
		}
	}
}

// Only the remainder of pos counts, so a caller may just count bytes.
func TestMask_position(t *testing.T) {
	in := maskInput(50)
	for _, pos := range []int{4, 5, 1 << 20, 1<<20 + 3, 1<<31 - 1} {
		b := bytes.Clone(in)
		want, wantNext := maskSlowly(maskKeys[0], pos&3, in)
		if got := Mask(maskKeys[0], pos, b); got != wantNext || !bytes.Equal(b, want) {
			t.Errorf("Mask at %d = %d, % x, want %d, % x", pos, got, b, wantNext, want)
		}
	}
}

func TestMaskCopy_shortDestination(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("MaskCopy of 5 bytes to 4 did not panic")
		}
	}()
	MaskCopy(make([]byte, 4), make([]byte, 5), maskKeys[0], 0)
}
