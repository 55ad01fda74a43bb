// Keys, requests, certificates, SVIDs, bundles and their verification: bytes in, verdict or bytes out.
export { type BundleDocument, hasSameKeys, makeBundleDocument, MAX_BUNDLE_DOCUMENT_BYTES, parseBundleDocument } from './bundle-document.ts';
export { BanIndex, type SvidFacts, svidFacts } from './ban-index.ts';
export { type BundleSet, type BundleSource, openBundleSet } from './bundle-set.ts';
export { type Issuer, signIntermediate, signRoot, signRootLink, signSvid, toPem } from './certificate.ts';
export { type ClientNames, type ClientRefusal, type ClientVerdict, verifyClientChain } from './client-chain.ts';
export { CLOCK_SKEW_MS } from './clock-skew.ts';
export { type Csr, makeCsr, parseCsr } from './csr.ts';
export { claimedIssuer, type IssuerKeys, MAX_JWKS_BYTES, MAX_TOKEN_BYTES, parseJwks, type TokenClaims, type TokenRefusal, type TokenVerdict, verifyIssuerToken } from './issuer-token.ts';
export { jwtAuthorityOf, type JwtRefusal, type JwtVerdict, signJwtSvid, verifyJwtSvid } from './jwt-svid.ts';
export { JWT_ALGORITHMS, type JwtAlgorithm, parseJwtSvid, type UnverifiedJwtSvid } from './jwt-token.ts';
export { exportKeyPem, generateKey, importKeyPem, type KeyKind, weaknessOf } from './key.ts';
export { MAX_PKCS7_BYTES, type Pkcs7Verdict, verifyPkcs7 } from './pkcs7.ts';
export { type Possession, signPossession, verifyPossession } from './possession.ts';
export { type RecordVerdict, signRecord, verifyRecord } from './signed-record.ts';
export { makeToken, parseToken, type Token, type TokenPrefix } from './token.ts';
export { type Verdict, verifySvid, type VerifyRefusal } from './verify.ts';
export { fixedSvidSource, makeX509Svid, parseCertificate, sha256Hex, spiffeIdOf, svidToPem, type SvidSource, trustDomainOfCert, type X509Svid } from './x509-svid.ts';
export { holderTag, readSvidSerial } from './svid-serial.ts';
