package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"tokenbroker/entra"
)

// A sealed file is
//
//	magic, version   a line that says what it is
//	salt             32 random bytes, new at each write
//	proof            32 bytes that only the same key and salt give
//	nonce            12 random bytes
//	ciphertext, tag  AES-256-GCM, which authenticates all before the nonce too
//
// HKDF-SHA256 (RFC 5869) makes proof and AES key from the key and the salt. An
// AES key is thus used once, and no number of writes is too large for random
// nonces. The proof tells a wrong key from a damaged file, and ties the file
// to one key, which GCM by itself does not.
const (
	magic      = "tokenbroker sign-ins, sealed, version "
	version    = "1\n"
	saltSize   = 32
	proofSize  = 32
	headerSize = len(magic) + len(version) + saltSize + proofSize

	sealInfo = "tokenbroker sign-ins 1: AES-256-GCM key, proof"
	aesSize  = 32
)

// Why a file does not open.
var (
	errStrange = errors.New("not a sealed file")
	errNewer   = errors.New("another version")
	errTorn    = errors.New("not whole")
	errKey     = errors.New("another key")
)

// seal returns the content of a file that opens to plain.
func seal(key entra.Secret, plain []byte) ([]byte, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails, as its documentation says
	aead, proof, err := derive(key, salt)
	if err != nil {
		return nil, err
	}
	header := bytes.Join([][]byte{[]byte(magic + version), salt, proof}, nil)
	return aead.Seal(bytes.Clone(header), nil, plain, header), nil //nolint:gosec // G407: this AEAD makes the nonce itself
}

// unseal returns what was sealed.
func unseal(key entra.Secret, sealed []byte) ([]byte, error) {
	rest, ours := bytes.CutPrefix(sealed, []byte(magic))
	if !ours {
		return nil, errStrange
	}
	if !bytes.HasPrefix(rest, []byte(version)) {
		return nil, errNewer
	}
	if len(sealed) < headerSize {
		return nil, errTorn
	}
	header, box := sealed[:headerSize], sealed[headerSize:]
	salt, shown := header[headerSize-proofSize-saltSize:headerSize-proofSize], header[headerSize-proofSize:]
	aead, proof, err := derive(key, salt)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(shown, proof) != 1 {
		return nil, errKey
	}
	plain, err := aead.Open(nil, nil, box, header)
	if err != nil {
		return nil, errTorn
	}
	return plain, nil
}

// derive makes what seals one file, and the proof that it does.
func derive(key entra.Secret, salt []byte) (aead cipher.AEAD, proof []byte, err error) {
	bits, err := hkdf.Key(sha256.New, []byte(key.Reveal()), salt, sealInfo, aesSize+proofSize) //nolint:forbidigo // the key's only use
	if err != nil {
		return nil, nil, err
	}
	defer clear(bits[:aesSize])
	block, err := aes.NewCipher(bits[:aesSize])
	if err == nil {
		aead, err = cipher.NewGCMWithRandomNonce(block)
	}
	return aead, bits[aesSize:], err
}
