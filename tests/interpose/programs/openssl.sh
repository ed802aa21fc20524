# openssl: keys, signatures, certificates, ciphers, digests.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: openssl
# seconds: 90
head -c 3000000 /dev/zero | tr '\0' 'x' > f
openssl dgst -sha256 f; openssl dgst -sha3-512 f | cut -c1-60
openssl enc -aes-256-cbc -pbkdf2 -iter 1000 -k secret -S 0011223344556677 -in f | openssl enc -d -aes-256-cbc -pbkdf2 -iter 1000 -k secret -S 0011223344556677 | cksum
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out k 2> /dev/null; openssl pkey -in k -pubout -out p
openssl dgst -sha256 -sign k -out s f; openssl dgst -sha256 -verify p -signature s f
openssl req -x509 -key k -subj /CN=test -days 3 -out c; openssl verify -CAfile c c; openssl x509 -in c -noout -subject
openssl ecparam -name prime256v1 -genkey -noout -out e; openssl pkey -in e -text -noout | grep -c pub
