package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"tokenbroker/entra"
	"tokenbroker/verify"
)

// attack is a token that is wrong in one way.
type attack struct {
	name  string
	token string
	want  verify.Reason
}

// TestAttacksAreRefused shows each token to a verifier that takes the one it
// was made from.
func TestAttacksAreRefused(t *testing.T) {
	w := newWorld(t)
	v := w.verifier()
	show := func(token string) error {
		_, err := v.Verify(t.Context(), entra.NewSecret(token))
		return err
	}
	for _, good := range []string{token(v1()), token(v2())} {
		if err := show(good); err != nil {
			t.Fatalf("the good token: %v", err)
		}
	}
	w.asked()
	rows := 0
	for _, group := range [][]attack{malformed(), algorithms(), wrongKeys(), wrongSignatures(), headers(), issuers(), audiences(), times(), others()} {
		for _, a := range group {
			rows++
			t.Run(a.name, func(t *testing.T) { wantRefused(t, show(a.token), a.token, a.want) })
		}
	}
	if rows < 60 {
		t.Errorf("%d attacks, want 60 at least", rows)
	}
	// Within the minute after the first look no key is looked up again; the other
	// tenant is one of ours, and is asked for its keys.
	for _, request := range w.asked() {
		if !strings.Contains(request, customer) {
			t.Errorf("an attack made us ask %s", request)
		}
	}
}

func malformed() []attack {
	good := token(v1())
	parts := strings.Split(good, ".")
	body := func(header, claims string) string {
		return minted{header, claims, rs256(goodKey())}.String()
	}
	claims := func(json string) string { return body(marshal(header()), json) }
	inserted := func(member string) string { return strings.Replace(marshal(v1()), "{", "{"+member+",", 1) }
	return []attack{
		{"nothing", "", verify.Malformed},
		{"a word", "opaque", verify.Opaque},
		{"two parts", parts[0] + "." + parts[1], verify.Opaque},
		{"four parts", good + ".e30", verify.Opaque},
		{"six parts", good + ".e30.e30.e30", verify.Opaque},
		{"encrypted", parts[0] + ".a2V5.aXY.Y2lwaGVy.dGFn", verify.Encrypted},
		{"JSON serialization", `{"payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, verify.Opaque},
		{"too long", token(with(v1(), "groups", strings.Repeat("x", 16<<10))), verify.Malformed},
		{"with its scheme", "Bearer " + good, verify.Malformed},
		{"a blank before", " " + good, verify.Malformed},
		{"a line break after", good + "\n", verify.Malformed},
		{"a line break within", good[:len(good)-9] + "\r\n" + good[len(good)-9:], verify.Malformed},
		{"a line break in its claims", parts[0] + "\n." + parts[1] + "." + parts[2], verify.Malformed},
		{"padded", good + "==", verify.Malformed},
		{"padded claims", parts[0] + "." + parts[1] + "==." + parts[2], verify.Malformed},
		{"spare bits set", good[:len(good)-1] + string(next(good[len(good)-1])), verify.Malformed},
		{"base64 of the other alphabet", parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]), verify.Malformed},
		{"no JSON in the header", body("alg=RS256", marshal(v1())), verify.Malformed},
		{"an array as header", body(`["alg","RS256"]`, marshal(v1())), verify.Malformed},
		{"null as header", body("null", marshal(v1())), verify.Malformed},
		{"null as claims", claims("null"), verify.Malformed},
		{"an array as claims", claims("[]"), verify.Malformed},
		{"a string as claims", claims(`"aud"`), verify.Malformed},
		{"bytes after the claims", claims(marshal(v1()) + "{}"), verify.Malformed},
		{"nested deep", claims(inserted(`"deep":` + strings.Repeat("[", 40) + strings.Repeat("]", 40))), verify.Malformed},
		{"a number as audience", token(with(v1(), "aud", 7)), verify.Malformed},
		{"a string as expiry", token(with(v1(), "exp", "4102444800")), verify.Malformed},
		{"an array as tenant", token(with(v1(), "tid", []string{ours})), verify.Malformed},
		{"two audiences by one name", claims(inserted(`"aud":"` + xdr + `"`)), verify.Malformed},
		{"two audiences in other letters", token(with(v1(), "AUD", "https://graph.microsoft.com")), verify.Malformed},
		{"two issuers in letters that fold", token(with(v1(), "iſs", "https://sts.windows.net/"+stranger+"/")), verify.Malformed},
		{"two algorithms", body(strings.Replace(marshal(header()), "{", `{"alg":"none",`, 1), marshal(v1())), verify.Malformed},
		{"two algorithms in other letters", body(marshal(with(header(), "Alg", "none")), marshal(v1())), verify.Malformed},
	}
}

// next is the next letter of base64url: the last one of a signature of 256
// bytes carries four bits that nobody needs.
func next(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)+1]
}

func algorithms() []attack {
	made := func(alg any, sign func(string) []byte) string {
		return minted{marshal(with(header(), "alg", alg)), marshal(v1()), sign}.String()
	}
	none := func(string) []byte { return nil }
	mac := func(secret []byte) func(string) []byte {
		return func(signed string) []byte {
			h := hmac.New(sha256.New, secret)
			h.Write([]byte(signed))
			return h.Sum(nil)
		}
	}
	der, _ := x509.MarshalPKIXPublicKey(goodKey().Public())
	curve, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	good := rs256(goodKey())
	return []attack{
		{"alg none", made("none", none), verify.Algorithm},
		{"alg None", made("None", none), verify.Algorithm},
		{"alg none with a signature", made("none", good), verify.Algorithm},
		{"alg missing", made(nil, good), verify.Algorithm},
		{"alg empty", made("", none), verify.Algorithm},
		{"alg in lower case", made("rs256", good), verify.Algorithm},
		{"alg with a blank", made("RS256 ", good), verify.Algorithm},
		{"alg in an array", made([]string{"RS256"}, good), verify.Algorithm},
		{"HS256 with the public key's PEM", made("HS256", mac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))), verify.Algorithm},
		{"HS256 with the public key's DER", made("HS256", mac(der)), verify.Algorithm},
		{"HS256 with the modulus", made("HS256", mac(goodKey().N.Bytes())), verify.Algorithm},
		{"HS256 with the empty key", made("HS256", mac(nil)), verify.Algorithm},
		{"ES256", made("ES256", func(signed string) []byte {
			sum := sha256.Sum256([]byte(signed))
			sig, _ := ecdsa.SignASN1(rand.Reader, curve, sum[:])
			return sig
		}), verify.Algorithm},
		{"ES256 with zeros", made("ES256", func(string) []byte { return make([]byte, 64) }), verify.Algorithm},
		{"EdDSA", made("EdDSA", func(signed string) []byte { return ed25519.Sign(edwards, []byte(signed)) }), verify.Algorithm},
		{"RS512 by the good key", made("RS512", func(signed string) []byte {
			sum := sha512.Sum512([]byte(signed))
			sig, _ := rsa.SignPKCS1v15(nil, goodKey(), crypto.SHA512, sum[:])
			return sig
		}), verify.Algorithm},
		{"RS1 by the good key", made("RS1", sha1Signature), verify.Algorithm},
		{"SHA-1 as RS256", made("RS256", sha1Signature), verify.Signature},
		{"PS256 said, PKCS #1 done", made("PS256", good), verify.Signature},
		{"RS256 said, PSS done", made("RS256", ps256(goodKey(), rsa.PSSSaltLengthEqualsHash)), verify.Signature},
		{"PS256 with a short salt", made("PS256", ps256(goodKey(), 8)), verify.Signature},
	}
}

func sha1Signature(signed string) []byte {
	sum := sha1.Sum([]byte(signed))
	sig, _ := rsa.SignPKCS1v15(nil, goodKey(), crypto.SHA1, sum[:])
	return sig
}

func wrongKeys() []attack {
	by := func(key *rsa.PrivateKey, members ...any) string {
		return minted{marshal(with(header(), members...)), marshal(v1()), rs256(key)}.String()
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, _ := x509.CreateCertificate(rand.Reader, template, template, strangerKey().Public(), strangerKey())
	const elsewhere = "https://stranger.example/" + ours + "/discovery/v2.0/keys"
	return []attack{
		{"kid missing", by(goodKey(), "kid", nil), verify.Signature},
		{"kid empty", by(goodKey(), "kid", ""), verify.Signature},
		{"kid a number", by(goodKey(), "kid", 1), verify.Signature},
		{"kid in an array", by(goodKey(), "kid", []string{"good"}), verify.Signature},
		{"kid in other letters", by(goodKey(), "kid", "GOOD"), verify.Signature},
		{"kid in an x5t", by(goodKey(), "kid", nil, "x5t", "good"), verify.Signature},
		{"kid of nobody", by(strangerKey(), "kid", "stranger"), verify.Signature},
		{"kid a path", by(strangerKey(), "kid", "../../../../dev/null"), verify.Signature},
		{"kid an address", by(strangerKey(), "kid", elsewhere), verify.Signature},
		{"kid a query", by(strangerKey(), "kid", "good' OR '1'='1"), verify.Signature},
		{"kid with a NUL", by(strangerKey(), "kid", "good\x00"), verify.Signature},
		{"kid of another tenant of ours", by(customerKey(), "kid", "customer"), verify.Signature},
		{"good kid, stranger's key", by(strangerKey()), verify.Signature},
		{"good kid, another tenant's key", by(customerKey()), verify.Signature},
		{"jku", by(strangerKey(), "kid", "stranger", "jku", elsewhere), verify.Signature},
		{"jku with the good kid", by(strangerKey(), "jku", elsewhere), verify.Signature},
		{"x5u", by(strangerKey(), "kid", "stranger", "x5u", "https://stranger.example/cert.pem"), verify.Signature},
		{"jwk", by(strangerKey(), "jwk", jwk("good", strangerKey())), verify.Signature},
		{"jwk without a kid", by(strangerKey(), "kid", nil, "jwk", jwk("stranger", strangerKey())), verify.Signature},
		{"x5c", by(strangerKey(), "x5c", []string{base64.StdEncoding.EncodeToString(cert)}), verify.Signature},
	}
}

func wrongSignatures() []attack {
	good, other := strings.Split(token(v1()), "."), strings.Split(token(v2()), ".")
	sig, _ := base64.RawURLEncoding.DecodeString(good[2])
	tail := func(sig []byte) string { return good[0] + "." + good[1] + "." + encode(sig) }
	flipped := append([]byte{sig[0] ^ 1}, sig[1:]...)
	one := make([]byte, 256)
	one[255] = 1
	return []attack{
		{"no signature", tail(nil), verify.Signature},
		{"a bit flipped", tail(flipped), verify.Signature},
		{"cut short", tail(sig[:255]), verify.Signature},
		{"a zero before", tail(append([]byte{0}, sig...)), verify.Signature},
		{"a zero after", tail(append(sig[:256:256], 0)), verify.Signature},
		{"the modulus added", tail(new(big.Int).Add(new(big.Int).SetBytes(sig), goodKey().N).Bytes()), verify.Signature},
		{"all zeros", tail(make([]byte, 256)), verify.Signature},
		{"one", tail(one), verify.Signature},
		{"another token's signature", good[0] + "." + good[1] + "." + other[2], verify.Signature},
		{"another token's claims", good[0] + "." + other[1] + "." + good[2], verify.Signature},
		{"another header", encode([]byte(marshal(with(header(), "x5t", "x")))) + "." + good[1] + "." + good[2], verify.Signature},
		{"more roles", good[0] + "." + encode([]byte(marshal(with(v1(), "roles", []string{"Machine.Isolate"})))) + "." + good[2], verify.Signature},
		{"later expiry", good[0] + "." + encode([]byte(marshal(with(v1(), "exp", 4102444800)))) + "." + good[2], verify.Signature},
	}
}

func headers() []attack {
	by := func(members ...any) string {
		return minted{marshal(with(header(), members...)), marshal(v1()), rs256(goodKey())}.String()
	}
	return []attack{
		{"crit of nobody", by("crit", []string{"urn:x"}, "urn:x", true), verify.Malformed},
		{"crit of b64", by("crit", []string{"b64"}, "b64", false), verify.Malformed},
		{"crit empty", by("crit", []string{}), verify.Malformed},
		{"crit null", minted{`{"alg":"RS256","kid":"good","crit":null}`, marshal(v1()), rs256(goodKey())}.String(), verify.Malformed},
		{"Graph's nonce", by("nonce", "AQABAAAAAAD"), verify.GraphOnly},
		{"Graph's nonce over a stranger's token", minted{marshal(with(header(), "nonce", "x")), marshal(with(v1(), "tid", stranger)), rs256(strangerKey())}.String(), verify.GraphOnly},
		{"a signed request", by("typ", "pop"), verify.NotAccess},
		{"a proof of possession", by("typ", "dpop+jwt"), verify.NotAccess},
		{"a security event", by("typ", "secevent+jwt"), verify.NotAccess},
		{"a number as type", by("typ", 1), verify.NotAccess},
	}
}

func issuers() []attack {
	by := func(members ...any) string { return token(with(v1(), members...)) }
	const sts, login = "https://sts.windows.net/", "https://" + host + "/"
	return []attack{
		{"tenant missing", by("tid", nil), verify.Tenant},
		{"tenant empty", by("tid", ""), verify.Tenant},
		{"tenant a domain", by("tid", "contoso.example", "iss", sts+"contoso.example/"), verify.Tenant},
		{"tenant an alias", by("tid", "common", "iss", login+"common/v2.0"), verify.Tenant},
		{"tenant a path", by("tid", ours+"/../"+stranger), verify.Tenant},
		{"tenant in capitals", by("tid", "AAAAAAAA-2222-2222-2222-222222222222", "iss", sts+"AAAAAAAA-2222-2222-2222-222222222222/"), verify.Tenant},
		{"tenant a stranger's", by("tid", stranger, "iss", sts+stranger+"/"), verify.Tenant},
		{"tenant a stranger's by its own key", signed("stranger", strangerKey(), with(v1(), "tid", stranger, "iss", login+stranger+"/v2.0")), verify.Tenant},
		{"tenant a stranger's, issuer ours", by("tid", stranger), verify.Issuer},
		{"tenant a customer's, issuer ours", by("tid", customer), verify.Issuer},
		{"tenant a customer's by our key", by("tid", customer, "iss", sts+customer+"/"), verify.Signature},
		{"issuer missing", by("iss", nil), verify.Issuer},
		{"issuer a stranger's", by("iss", sts+stranger+"/"), verify.Issuer},
		{"issuer a customer's", by("iss", login+customer+"/v2.0"), verify.Issuer},
		{"issuer v1 without its slash", by("iss", sts+ours), verify.Issuer},
		{"issuer v2 with a slash", by("iss", login+ours+"/v2.0/"), verify.Issuer},
		{"issuer v2 of version 1", by("iss", login+ours+"/"), verify.Issuer},
		{"issuer in clear text", by("iss", "http://sts.windows.net/"+ours+"/"), verify.Issuer},
		{"issuer in capitals", by("iss", "HTTPS://STS.WINDOWS.NET/"+ours+"/"), verify.Issuer},
		{"issuer at another host", by("iss", "https://stranger.example/"+ours+"/v2.0"), verify.Issuer},
		{"issuer at a host that begins so", by("iss", "https://"+host+".stranger.example/"+ours+"/v2.0"), verify.Issuer},
		{"issuer behind a user", by("iss", "https://"+host+"@stranger.example/"+ours+"/v2.0"), verify.Issuer},
		{"issuer with a query", by("iss", login+ours+"/v2.0?x"), verify.Issuer},
		{"issuer of another cloud", by("iss", "https://login.microsoftonline.us/"+ours+"/v2.0"), verify.Issuer},
		{"issuer of China's cloud", by("iss", "https://sts.chinacloudapi.cn/"+ours+"/"), verify.Issuer},
		{"issuer a template", by("iss", login+"{tenantid}/v2.0"), verify.Issuer},
	}
}

func audiences() []attack {
	by := func(audience any) string { return token(with(v1(), "aud", audience)) }
	return []attack{
		{"audience missing", by(nil), verify.Audience},
		{"audience empty", by(""), verify.Audience},
		{"audience of nobody", by([]string{}), verify.Audience},
		{"audience any", by("*"), verify.Audience},
		{"audience Graph", by("https://graph.microsoft.com"), verify.Audience},
		{"audience another API of Defender", by("https://api.securitycenter.microsoft.com"), verify.Audience},
		{"audience a host that begins so", by(xdr + ".stranger.example"), verify.Audience},
		{"audience a path below", by(xdr + "/api"), verify.Audience},
		{"audience in clear text", by("http://api.security.microsoft.com"), verify.Audience},
		{"audience another port", by(xdr + ":8443"), verify.Audience},
		{"audience behind a user", by("https://api.security.microsoft.com@stranger.example"), verify.Audience},
		{"audience another client", by(stranger), verify.Audience},
		{"audience another client's URI", by("api://" + stranger), verify.Audience},
		{"audience below our URI", by("api://" + client + "/admin"), verify.Audience},
		{"audience a URI in other letters", by("api://contoso/Hunter"), verify.Audience},
		{"audience our URI without its scheme", by("contoso/hunter"), verify.Audience},
		{"audience a scope", by(xdr + "/.default"), verify.Audience},
		{"audience two in one", by(xdr + " https://graph.microsoft.com"), verify.Audience},
		{"audience several, none ours", by([]string{"https://graph.microsoft.com", stranger}), verify.Audience},
	}
}

func times() []attack {
	by := func(members ...any) string { return token(with(v1(), members...)) }
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	return []attack{
		{"expired", by("exp", in(-2*time.Minute)), verify.Expired},
		{"expired long ago", by("exp", 1), verify.Expired},
		{"expired, a stranger's key", signed("good", strangerKey(), with(v1(), "exp", in(-time.Hour))), verify.Expired},
		{"without an end", by("exp", nil), verify.Malformed},
		{"an end at zero", by("exp", 0), verify.Malformed},
		{"an end before time", by("exp", -1e300), verify.Malformed},
		{"an end after time", by("exp", 1e300), verify.Malformed},
		{"an end in milliseconds", by("exp", time.Now().UnixMilli()), verify.Malformed},
		{"not yet", by("nbf", in(2*time.Minute)), verify.NotYetValid},
		{"a start after time", by("nbf", 1e300), verify.Malformed},
		{"a start before time", by("nbf", -1), verify.Malformed},
	}
}

func others() []attack {
	return []attack{
		{"an ID token", token(with(v2(), "azp", nil, "nonce", "n", "preferred_username", "a@contoso.example")), verify.NotAccess},
		{"an access token that is bound to a key", token(with(v1(), "cnf", object{"kid": "x"})), verify.Bound},
		{"an access token that is bound to a certificate", token(with(v2(), "cnf", object{"x5t#S256": "x"})), verify.Bound},
	}
}
