package broker

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // openssl req encrypted keys with it up to version 3.1
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // RFC 8018 §B.1.1: HMAC-SHA-1 is what PBKDF2 takes unless another is named
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"hash"
)

// maxIterations bounds the work that a file asks of us to check its password,
// to some seconds. OpenSSL writes 2048, and OWASP advises 1.3 million at most.
const maxIterations = 10_000_000

// encryptedKey is the EncryptedPrivateKeyInfo of RFC 5958 §3, encrypted with
// PBES2 and PBKDF2 (RFC 8018 §A.4 and §A.2), as OpenSSL does.
type encryptedKey struct {
	Scheme struct {
		PBES2      asn1.ObjectIdentifier
		Parameters struct {
			Derivation struct {
				PBKDF2     asn1.ObjectIdentifier
				Parameters struct {
					Salt       []byte
					Iterations int
					KeyLength  int                      `asn1:"optional"`
					PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
				}
			}
			Cipher struct {
				Algorithm asn1.ObjectIdentifier
				IV        []byte
			}
		}
	}
	Data []byte
}

// decryptKey decrypts a private key.
func decryptKey(der []byte, password string) (key []byte, fault string) {
	const unknown = "its key is encrypted in a way that is not known here, or damaged" + reencrypt
	var encrypted encryptedKey
	if rest, err := asn1.Unmarshal(der, &encrypted); err != nil || len(rest) > 0 {
		return nil, unknown
	}
	scheme := &encrypted.Scheme.Parameters.Cipher
	derivation := &encrypted.Scheme.Parameters.Derivation.Parameters
	newCipher, length := cipherOf(scheme.Algorithm)
	prf := pseudorandom(derivation.PRF.Algorithm)
	if encrypted.Scheme.Parameters.Derivation.PBKDF2.String() != "1.2.840.113549.1.5.12" ||
		newCipher == nil || prf == nil || derivation.Iterations < 1 || derivation.Iterations > maxIterations {
		return nil, unknown
	}
	derived, err := pbkdf2.Key(prf, password, derivation.Salt, derivation.Iterations, length)
	if err != nil {
		return nil, unknown // not allowed by a FIPS 140 mode
	}
	block, err := newCipher(derived)
	if err != nil || len(scheme.IV) != block.BlockSize() || len(encrypted.Data) == 0 || len(encrypted.Data)%block.BlockSize() != 0 {
		return nil, unknown
	}
	key = make([]byte, len(encrypted.Data))
	cipher.NewCBCDecrypter(block, scheme.IV).CryptBlocks(key, encrypted.Data)
	padding := int(key[len(key)-1])
	if padding == 0 || padding > block.BlockSize() || !bytes.HasSuffix(key, bytes.Repeat(key[len(key)-1:], padding)) {
		return nil, passwordFault(password)
	}
	return key[:len(key)-padding], ""
}

// cipherOf returns a cipher of RFC 8018 §B.2 or RFC 3565, and the length of
// its key in bytes.
func cipherOf(id asn1.ObjectIdentifier) (newCipher func(key []byte) (cipher.Block, error), keyLength int) {
	switch id.String() {
	case "2.16.840.1.101.3.4.1.2":
		return aes.NewCipher, 16
	case "2.16.840.1.101.3.4.1.22":
		return aes.NewCipher, 24
	case "2.16.840.1.101.3.4.1.42":
		return aes.NewCipher, 32
	case "1.2.840.113549.3.7":
		return des.NewTripleDESCipher, 24
	}
	return nil, 0
}

// pseudorandom returns the hash of a function of RFC 8018 §B.1.
func pseudorandom(id asn1.ObjectIdentifier) func() hash.Hash {
	switch id.String() {
	case "", "1.2.840.113549.2.7":
		return sha1.New
	case "1.2.840.113549.2.9":
		return sha256.New
	case "1.2.840.113549.2.11":
		return sha512.New
	}
	return nil
}

// tooSlow reports that a number which stands openly in DER is larger than any
// count of iterations that is borne with.
func tooSlow(der []byte) bool {
	for len(der) > 0 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(der, &value)
		if err != nil {
			return false // whoever reads it will say so
		}
		if value.IsCompound && tooSlow(value.Bytes) {
			return true
		}
		var number int
		if value.Class == asn1.ClassUniversal && value.Tag == asn1.TagInteger {
			if _, err := asn1.Unmarshal(value.FullBytes, &number); err != nil || number > maxIterations {
				return true
			}
		}
		der = rest
	}
	return false
}
