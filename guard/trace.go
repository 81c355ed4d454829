package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// trace is what is kept of a key: enough to know it again, also in the midst of
// a text, and too little to have it.
type trace struct {
	sum    [sha256.Size]byte
	length int
	head   uint16
}

func traceOf(key string) trace {
	return trace{sha256.Sum256([]byte(key)), len(key), headOf(key)}
}

// headOf is the head of a key that begins where text does.
func headOf(text string) uint16 {
	var h rolling
	for i := range min(len(text), headLen) {
		h = h.next(text, i)
	}
	return h.head()
}

// headLen is how many bytes of a key its head stands for. No key of a file has
// fewer, see minKey; shorter ones are not found in the midst of a text.
const headLen = minKey

// rolling is the hash by Rabin and Karp of the last headLen bytes of a text: a
// text is searched for all keys in one pass.
type rolling uint64

const (
	base   = 0x9e3779b97f4a7c15
	base4  = (base * base & mask) * (base * base & mask) & mask
	base16 = (base4 * base4 & mask) * (base4 * base4 & mask) & mask // what a byte weighs when it leaves
	mask   = 1<<64 - 1
)

// next takes in the byte at i and lets go of the one headLen before it.
func (h rolling) next(text string, i int) rolling {
	h = h*base + rolling(text[i])
	if i >= headLen {
		h -= rolling(text[i-headLen]) * base16
	}
	return h
}

// head is a part of the hash, so small that it tells next to nothing of a key.
func (h rolling) head() uint16 { return uint16(h >> 48) } // these bits depend on all bytes

// known are traces, to find keys by. It makes no secret of how long it takes:
// what it is asked about is no proof of a caller.
type known struct {
	sums    map[[sha256.Size]byte]struct{}
	heads   [1 << 16 / 64]uint64 // a set of bits
	lengths []int                // each once, the longest first
}

func (k *known) add(t trace) {
	k.sums[t.sum] = struct{}{}
	k.heads[t.head/64] |= 1 << (t.head % 64)
	if at, found := slices.BinarySearchFunc(k.lengths, t.length, func(a, b int) int { return b - a }); !found {
		k.lengths = slices.Insert(k.lengths, at, t.length)
	}
}

func (k *known) hasHead(head uint16) bool { return k.heads[head/64]&(1<<(head%64)) != 0 }

// have reports whether text is a key. What none is as long as, or begins like, is
// not hashed: that is most of what a query holds.
func (k *known) have(text string) bool {
	return slices.Contains(k.lengths, len(text)) && k.hasHead(headOf(text)) && k.hasSum(text)
}

func (k *known) hasSum(text string) bool {
	_, ok := k.sums[sha256.Sum256([]byte(text))]
	return ok
}

// cutOff is how [entra.Quote] ends what was too long for it.
const cutOff = `"…`

// find returns where the first key in text begins and ends. What begins like a
// key and is cut off before its end counts too.
func (k *known) find(text string) (begin, end int, ok bool) {
	var h rolling
	for i := range len(text) {
		h = h.next(text, i)
		if begin = i + 1 - headLen; begin < 0 || !k.hasHead(h.head()) {
			continue
		}
		for _, length := range k.lengths {
			if end = begin + length; end <= len(text) && k.hasSum(text[begin:end]) {
				return begin, end, true
			}
		}
		if cut := strings.Index(text[begin:min(len(text), begin+k.lengths[0]+len(cutOff))], cutOff); cut >= headLen {
			return begin, begin + cut, true
		}
	}
	return 0, 0, false
}

// within reports whether there is a key in text: as it stands, in quotes, or
// percent-encoded, maybe twice.
func (k *known) within(text string) bool {
	_, _, ok := k.find(text)
	if ok || !strings.ContainsAny(text, `%\`) {
		return ok
	}
	for _, undo := range [...]func(string) string{unquote, decode, decode} {
		plain := undo(text)
		if plain == text {
			continue
		}
		if _, _, ok := k.find(plain); ok {
			return true
		}
		text = plain
	}
	return false
}

// What stands in the place of a key, and of a text that has one in disguise.
const (
	inPlaceOfKey  = "(caller key)"
	inPlaceOfText = "(not written down: a caller key is in it)"
)

// redact returns text without the keys in it.
func (k *known) redact(text string) string {
	var clean strings.Builder
	rest := text
	for {
		begin, end, ok := k.find(rest)
		if !ok {
			break
		}
		clean.WriteString(rest[:begin])
		clean.WriteString(inPlaceOfKey)
		rest = rest[end:]
	}
	if len(rest) < len(text) {
		clean.WriteString(rest)
		text = clean.String()
	}
	if k.within(text) {
		return inPlaceOfText
	}
	return text
}

// unquote undoes what [entra.Quote] does to a quote and a backslash.
func unquote(text string) string {
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(text)
}

// decode undoes percent-encoding. What is none stays as it is.
func decode(text string) string {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		var octet [1]byte
		if text[i] == '%' && i+2 < len(text) {
			if _, err := hex.Decode(octet[:], []byte(text[i+1:i+3])); err == nil {
				plain = append(plain, octet[0])
				i += 2
				continue
			}
		}
		plain = append(plain, text[i])
	}
	return string(plain)
}
