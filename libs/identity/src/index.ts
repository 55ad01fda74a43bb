// Who may have which identity, and keeping it fresh: the trust root, a cluster's authority and issuance, and a proxy's own SVIDs.
export { openTrustRoot, type TrustRoot, type TrustRootOptions } from './trust-root/trust-root.ts';
export { type AttestationConfig, attestationSchema } from './attest/attestation.ts';
export { type Authority, type AuthorityOptions, type AuthorityStatus, openAuthority } from './authority/authority.ts';
export type { CreatedJoinToken, JoinTokenRequest } from './issuance/join-tokens.ts';
export { type Issuance, type IssuanceOptions, serveIssuance } from './issuance/issuance.ts';
export { openProxyAttestation, type ProxyAttestationConfig, proxyAttestationSchema } from './proxy/attestation-config.ts';
export { type Identity, type IdentityOptions, type IdentityStatus, joinOrResume } from './proxy/join.ts';
export { type Fresh, type FreshSvid, keepFresh, type KeepFreshOptions, renewalDelayMs } from './renew.ts';
export { bundleFromWire, bundleToWire, memberFromWire, memberToWire } from './wire.ts';
