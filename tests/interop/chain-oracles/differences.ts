// Where our verdict over a chain is another than that of an oracle, and why; the test holds this table complete and true.

/** Kinds of cases (libs/pki/src/cases) that these oracles judge otherwise than we do, whatever the keys. */
export type Difference = { readonly oracles: readonly ('openssl' | 'go')[]; readonly reason: string; readonly kinds: readonly string[] };

/** Where we take what an oracle refuses, the reason says which rule lets us; everywhere else we are the stricter one. */
export const DIFFERENCES: readonly Difference[] = [
  {
    oracles: ['openssl', 'go'],
    reason: 'It does not mind name constraints in a certificate that is no CA.',
    kinds: [
      'name constraints in a leaf',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It has no bound on names, bytes or certificates that low; ours is there for the work they cost (reliability 46).',
    kinds: [
      'six certificates',
      'three hundred DNS names',
      'ten thousand DNS names',
      'twenty thousand bytes',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It has no say in which keys are strong enough here; ours are those of key.ts.',
    kinds: [
      'RSA of 1024 bits',
      'RSA with exponent 3',
      'RSA for PSS alone',
      'EC P-224',
      'EC P-521',
      'Ed448',
      'X25519, which signs nothing',
      'an intermediate with RSA of 1024 bits',
      'an intermediate with EC P-224',
      'a root with RSA of 1024 bits',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It keeps names as they are and leaves it to others what to do with control characters, spaces, emptiness or a wrong length in them.',
    kinds: [
      'a space in the SPIFFE ID',
      'CR and LF in a DNS name',
      'NUL in a DNS name',
      'an empty DNS name',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It knows no SPIFFE: what names an SVID must have is not its affair.',
    kinds: [
      'two SPIFFE IDs',
      'the same SPIFFE ID twice',
      'a SPIFFE ID and another URI',
      'no SAN at all',
      'a DNS name alone',
      'a SPIFFE ID written as a DNS name',
      'a SPIFFE ID as common name',
      'no path',
      'a path that is a slash',
      'scheme https',
      'scheme in capitals',
      'no scheme',
      'no trust domain',
      'a trust domain in capitals',
      'a port',
      'a port left out behind its colon',
      'a user',
      'a query',
      'a fragment',
      'percent-encoding in the path',
      'an empty segment',
      'a segment of one dot',
      'a segment of two dots',
      'a slash at the end',
      'a character no path has',
      '2049 bytes',
      'a trust domain of 256 bytes',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It knows no SPIFFE: which trust domain a bundle is of is not its affair.',
    kinds: [
      'a name of another trust domain under the right root',
      'a name of a trust domain below',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It knows no SPIFFE: whom a CA may speak for is told by name constraints alone.',
    kinds: [
      'a west intermediate without constraints signs an east name',
      'a west intermediate with constraints wider than west signs an east name',
      'the root of the federation signs a leaf itself',
      'a CA without SPIFFE ID signs a leaf',
      'a CA whose SPIFFE ID has a path',
      'a CA higher up whose SPIFFE ID has a path',
      'a CA with two SPIFFE IDs',
      'a CA whose name is no SPIFFE ID',
      'a CA whose SPIFFE ID begins like the trust domain and goes on',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It looks for a path among all certificates sent; the Workload API has them in order.',
    kinds: [
      'the intermediates come in the wrong order',
      'the leaf twice',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It reads extensions, unique identifiers or nothing at all in versions where RFC 5280 §4.1.2.1 has them otherwise; an SVID is of version 3.',
    kinds: [
      'a version 1 leaf',
      'unique identifiers',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It takes any trusted certificate as the end of a path, even the leaf itself; a root of ours is a CA.',
    kinds: [
      'a leaf that signed itself and is in the bundle',
      'the leaf is in the bundle',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It takes other encodings than DER, or bytes behind a value; we take one form of a certificate alone (X.690 §10, §11).',
    kinds: [
      '“not critical” written out',
      '“no CA” written out',
      'bytes behind an extension’s value',
      'bytes behind the names',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'It takes serial numbers that RFC 5280 §4.1.2.2 forbids.',
    kinds: [
      'serial number 0',
      'a serial number of 21 octets',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'That no CA stands as a leaf is a rule of X509-SVID §5.2.',
    kinds: [
      'a leaf that is a CA',
      'a leaf that is a CA and may sign',
    ],
  },
  {
    oracles: ['openssl', 'go'],
    reason: 'What the key usage of a leaf must be, and that it is critical, is a rule of X509-SVID §4.3 (OpenSSL looks at some of it, by purpose).',
    kinds: [
      'an intermediate with a SPIFFE ID whose key usage is not critical',
      'no key usage',
      'a key usage that is not critical',
      'may sign CRLs',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It has no bound on names, bytes or certificates that low; ours is there for the work they cost (reliability 46).',
    kinds: [
      'a hundred CAs, one above the other',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It has no say in which keys are strong enough here; ours are those of key.ts.',
    kinds: [
      'EC secp256k1',
      'EC brainpoolP256r1',
      'an intermediate with EC secp256k1',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It keeps names as they are and leaves it to others what to do with control characters, spaces, emptiness or a wrong length in them.',
    kinds: [
      'CR and LF in the SPIFFE ID',
      'NUL in the SPIFFE ID',
      'a letter beyond ASCII in the SPIFFE ID',
      'an address of three octets',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It knows no SPIFFE: what names an SVID must have is not its affair.',
    kinds: [
      'percent-encoding in the trust domain',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It reads extensions, unique identifiers or nothing at all in versions where RFC 5280 §4.1.2.1 has them otherwise; an SVID is of version 3.',
    kinds: [
      'version 4',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It takes name constraints that RFC 5280 §4.2.1.10 forbids: empty, or with bounds.',
    kinds: [
      'empty name constraints',
      'name constraints with an empty list',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It takes other encodings than DER, or bytes behind a value; we take one form of a certificate alone (X.690 §10, §11).',
    kinds: [
      'a critical flag that is neither',
      'bytes behind the certificate',
      'a length in a longer form outside',
      'a length in a longer form in what is signed',
      'an indefinite length',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'It takes serial numbers that RFC 5280 §4.1.2.2 forbids.',
    kinds: [
      'a negative serial number',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'OpenSSL compares names by their meaning (RFC 5280 §7.1), we and Go octet by octet.',
    kinds: [
      'the issuer is written in another string type',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'OpenSSL does not read anyExtendedKeyUsage in a CA as serverAuth and clientAuth; RFC 5280 §4.2.1.12 does.',
    kinds: [
      'a CA for any usage',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'OpenSSL has a certificate run out within its last second; RFC 5280 §4.1.2.5 includes it.',
    kinds: [
      'the last second',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'OpenSSL’s security level lets SHA-1 pass when it verifies; RFC 9155 does not.',
    kinds: [
      'signed with SHA-1 by an EC key',
      'signed with SHA-1 by an RSA key',
    ],
  },
  {
    oracles: ['openssl'],
    reason: 'Strict OpenSSL holds issuers to the profile: critical basic constraints, key identifiers; RFC 5280 §6.1 asks no verifier for them.',
    kinds: [
      'basic constraints of a CA that are not critical',
      'no key identifiers',
    ],
  },
  {
    oracles: ['go'],
    reason: 'Go compares issuers without name as it does others; RFC 5280 §4.1.2.4 has none.',
    kinds: [
      'the issuer has no name',
    ],
  },
  {
    oracles: ['go'],
    reason: 'Go counts self-issued CAs in path lengths, which RFC 5280 §6.1.4 l does not.',
    kinds: [
      'a CA that a CA of the same name issued is not counted in path lengths',
    ],
  },
  {
    oracles: ['go'],
    reason: 'Go reads a host as a domain with all below it; for URIs RFC 5280 §4.2.1.10 means that host alone.',
    kinds: [
      'a CA confined to the domain above, without a dot',
    ],
  },
  {
    oracles: ['go'],
    reason: 'Go takes a CA without key usage as one for all uses; X509-SVID §4.3 demands keyCertSign.',
    kinds: [
      'an intermediate without key usage',
      'a root without key usage',
    ],
  },
  {
    oracles: ['go'],
    reason: 'Go takes a certificate for any use, or with an empty list of uses, for every use; X509-SVID §4.4 demands both by name.',
    kinds: [
      'for any use, not named',
      'for no use',
    ],
  },
  {
    oracles: ['go'],
    reason: 'Go takes a time without seconds, which RFC 5280 §4.1.2.5.1 forbids.',
    kinds: [
      'UTC time without seconds',
    ],
  },
  {
    oracles: ['go'],
    reason: 'Go takes key identifiers as a hint in its search alone.',
    kinds: [
      'the issuer is named with another key identifier',
      'the issuer is named by serial number, and has another',
    ],
  },
  {
    oracles: ['go'],
    reason: 'It does not mind a path length in a certificate that is no CA.',
    kinds: [
      'a path length in a leaf',
    ],
  },
  {
    oracles: ['go'],
    reason: 'It keeps names as they are and leaves it to others what to do with control characters, spaces, emptiness or a wrong length in them.',
    kinds: [
      'a SAN without names',
    ],
  },
  {
    oracles: ['go'],
    reason: 'It knows no SPIFFE: what names an SVID must have is not its affair.',
    kinds: [
      'no subject, and names that are not critical',
    ],
  },
  {
    oracles: ['go'],
    reason: 'It reads extensions, unique identifiers or nothing at all in versions where RFC 5280 §4.1.2.1 has them otherwise; an SVID is of version 3.',
    kinds: [
      'extensions in version 1',
      'extensions in version 2',
    ],
  },
  {
    oracles: ['go'],
    reason: 'It takes name constraints that RFC 5280 §4.2.1.10 forbids: empty, or with bounds.',
    kinds: [
      'name constraints with a minimum',
    ],
  },
  {
    oracles: ['go'],
    reason: 'It takes other encodings than DER, or bytes behind a value; we take one form of a certificate alone (X.690 §10, §11).',
    kinds: [
      'version 1 written out',
      'a fourth part of the certificate',
    ],
  },
  {
    oracles: ['go'],
    reason: 'That no CA stands as a leaf is a rule of X509-SVID §5.2.',
    kinds: [
      'a CA that stands as a leaf',
    ],
  },
  {
    oracles: ['go'],
    reason: 'What the key usage of a leaf must be, and that it is critical, is a rule of X509-SVID §4.3 (OpenSSL looks at some of it, by purpose).',
    kinds: [
      'no digital signature',
      'no usage at all',
      'may sign certificates',
    ],
  },
];
