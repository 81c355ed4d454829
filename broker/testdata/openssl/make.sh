#!/bin/sh
# Makes the files of this folder again, with OpenSSL 3. The password is "canary",
# and the key signs for nothing but these tests.
set -e
openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj "/CN=openssl" -keyout plain.key -out cert.pem
openssl pkcs8 -topk8 -passout pass:canary -v2 aes-256-cbc -in plain.key -out aes256.key
openssl pkcs8 -topk8 -passout pass:canary -v2 aes-192-cbc -v2prf hmacWithSHA512 -in plain.key -out aes192-sha512.key
openssl pkcs8 -topk8 -passout pass:canary -v2 aes-128-cbc -v2prf hmacWithSHA1 -in plain.key -out aes128-sha1.key
openssl pkcs8 -topk8 -passout pass:canary -v2 des3 -in plain.key -out des3.key
openssl pkcs8 -topk8 -passout pass:canary -v2 camellia-256-cbc -in plain.key -out camellia.key
openssl pkcs8 -topk8 -passout pass:canary -v2 aes-256-cbc -v2prf hmacWithSHA384 -in plain.key -out sha384.key
openssl pkcs8 -topk8 -passout pass:canary -scrypt -in plain.key -out scrypt.key
openssl pkcs8 -topk8 -passout pass:canary -v1 PBE-SHA1-3DES -in plain.key -out pbes1.key
openssl rsa -traditional -passout pass:canary -aes256 -in plain.key -out traditional.key
openssl pkcs12 -export -passout pass:canary -inkey plain.key -in cert.pem -out modern.p12
openssl pkcs12 -export -legacy -passout pass:canary -inkey plain.key -in cert.pem -out legacy.p12
rm plain.key
