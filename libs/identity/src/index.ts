// Who may have which identity, and keeping it fresh: the trust root, a cluster's authority and issuance, and a proxy's own SVIDs.
export { openTrustRoot, type TrustRoot, type TrustRootOptions } from './trust-root/trust-root.ts';
export { type Authority, type AuthorityOptions, type AuthorityStatus, openAuthority } from './authority/authority.ts';
export { publicKeyOf } from './csr.ts';
export type { TokenFence } from './issuance/join-tokens.ts';
export { type BundleEndpointOptions, type BundleEndpointServer, type EndpointProof, serveBundleEndpoint } from './foreign/bundle-endpoint.ts';
export { type ForeignStatus, type ForeignTrust, type ForeignTrustOptions, openForeignTrust } from './foreign/foreign-trust.ts';
export type { ProxyTrust } from './authority/trust-report.ts';
export type { RotationDocument } from './trust-root/rotor.ts';
export type { CreatedJoinToken, JoinTokenRequest } from './issuance/join-tokens.ts';
export { type Issuance, type IssuanceOptions, serveIssuance } from './issuance/issuance.ts';
export { type Identity, type IdentityOptions, type IdentityStatus, joinOrResume } from './proxy/join.ts';
export { type Fresh, type FreshSvid, keepFresh, type KeepFreshOptions, renewalDelayMs } from './renew.ts';
export { bundleFromWire, bundleToWire, memberFromWire, memberToWire } from './wire.ts';
export { type ServedWorkload, startWorkloadApi, type WorkloadApi, type WorkloadApiOptions } from './workload-api/workload-api.ts';
export { type Fact, type Happening, type Head, type LogRecord } from './transparency-log/record.ts';
export { openTransparencyLog, type TransparencyLog } from './transparency-log/log.ts';
export { type LogVerdict, verifyLog } from './transparency-log/verify.ts';
export { openRateLimit, type RateLimit } from './rate-limit.ts';
