package websocket

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// MaxHeaderSize is the size in bytes of the longest frame header: two
	// bytes, a 64-bit length and a masking key.
	MaxHeaderSize = 2 + 8 + 4

	// maxControlPayload is how many bytes a control frame carries at most.
	// See RFC 6455, section 5.5.
	maxControlPayload = 125
)

// The bits of a header's first and second byte that are not opcode or length,
// and the two values that say that the length follows in 16 or 64 bits.
const (
	finBit  = 0x80
	maskBit = 0x80

	length16 = 126
	length64 = 127
)

// RSV1, the first of the reserved bits as [Header.Rsv] holds them, marks a
// compressed message (RFC 7692). RSV2 and RSV3 have no meaning yet.
const (
	RSV1 byte = 1 << 2
	RSV2 byte = 1 << 1
	RSV3 byte = 1 << 0
)

// A Header is what stands before a frame's payload. The functions on it are a
// codec for those who need frames without a connection, as a proxy does: most
// users never meet them. Whether a frame may come at some point of a
// connection is not a matter of its header alone, and is not judged here. See
// RFC 6455, section 5.2.
type Header struct {
	Fin    bool    // the last fragment of its message
	Rsv    byte    // the bits RSV1, RSV2, RSV3; 0 unless an extension was agreed
	Opcode Opcode  // the low four bits count
	Masked bool    // the payload is masked with Mask
	Mask   [4]byte // the masking key, if Masked
	Length int64   // bytes of payload, not negative
}

// AppendHeader appends the wire form of h to b, with the length in the fewest
// bytes that hold it. It judges nothing: what h says is what is written.
func AppendHeader(b []byte, h Header) []byte {
	first := byte(h.Opcode)&0xF | h.Rsv&7<<4
	if h.Fin {
		first |= finBit
	}
	var masked byte
	if h.Masked {
		masked = maskBit
	}
	switch {
	case h.Length < length16:
		b = append(b, first, masked|byte(h.Length))
	case h.Length <= 0xFFFF:
		b = append(b, first, masked|length16)
		b = binary.BigEndian.AppendUint16(b, uint16(h.Length))
	default:
		b = append(b, first, masked|length64)
		b = binary.BigEndian.AppendUint64(b, uint64(h.Length))
	}
	if h.Masked {
		b = append(b, h.Mask[:]...)
	}
	return b
}

// ParseHeader reads a header from the start of b and returns it with its size
// in bytes. While bytes are missing it returns a size of 0 and no error;
// [MaxHeaderSize] bytes are always enough. It refuses, with a [*ProtocolError],
// a length that is not in the fewest bytes and one whose top bit is set.
func ParseHeader(b []byte) (h Header, n int, err error) {
	if len(b) < 2 {
		return Header{}, 0, nil
	}
	n = headerSize(b[1])
	if len(b) < n {
		return Header{}, 0, nil
	}
	length, err := parseLength(b)
	if err != nil {
		return Header{}, 0, err
	}
	h = Header{
		Fin:    b[0]&finBit != 0,
		Rsv:    b[0] >> 4 & 7,
		Opcode: Opcode(b[0] & 0xF),
		Masked: b[1]&maskBit != 0,
		Length: length,
	}
	if h.Masked {
		h.Mask = [4]byte(b[n-4 : n])
	}
	return h, n, nil
}

// ReadHeader reads a header from r, and not a byte behind it. The error is
// [io.EOF] if r ended before the first byte, [io.ErrUnexpectedEOF] if it ended
// inside the header, what r returned, or that of [ParseHeader].
func ReadHeader(r io.Reader) (Header, error) {
	b := make([]byte, MaxHeaderSize) // would escape as an array, too
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return Header{}, err
	}
	n := headerSize(b[1])
	if _, err := io.ReadFull(r, b[2:n]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Header{}, err
	}
	h, _, err := ParseHeader(b[:n])
	return h, err
}

// headerSize returns how many bytes the header has whose second byte is b1.
func headerSize(b1 byte) int {
	n := 2
	switch b1 &^ maskBit {
	case length16:
		n += 2
	case length64:
		n += 8
	}
	if b1&maskBit != 0 {
		n += 4
	}
	return n
}

// parseLength returns the payload length from b, which holds a whole header.
// "The minimal number of bytes MUST be used to encode the length", and the
// most significant bit of a 64-bit length "MUST be 0": checked before anything
// is converted, so that it holds where int has 32 bits.
func parseLength(b []byte) (int64, error) {
	switch short := b[1] &^ maskBit; short {
	case length16:
		l := binary.BigEndian.Uint16(b[2:])
		if l < length16 {
			return 0, violation("5.2", "length %d in 16 bits, want 7", l)
		}
		return int64(l), nil
	case length64:
		l := binary.BigEndian.Uint64(b[2:])
		if l>>63 != 0 {
			return 0, violation("5.2", "length %#x has its top bit set", l)
		}
		if l <= 0xFFFF {
			return 0, violation("5.2", "length %d in 64 bits, want fewer", l)
		}
		return int64(l), nil
	default:
		return int64(short), nil
	}
}

// String describes h for logs, as in "text fin len=5 mask=37fa213d".
func (h Header) String() string {
	s := h.Opcode.String()
	if h.Fin {
		s += " fin"
	}
	if h.Rsv != 0 {
		s += fmt.Sprintf(" rsv=%03b", h.Rsv)
	}
	s += fmt.Sprintf(" len=%d", h.Length)
	if h.Masked {
		s += fmt.Sprintf(" mask=%x", h.Mask)
	}
	return s
}
