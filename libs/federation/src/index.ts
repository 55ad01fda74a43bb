// Cluster to cluster: exports into signed digests, peers watched and mirrored, their states.
export type { ImportedService } from '@isthmus/model';
export type { ExportedService } from './digest.ts';
export { type Federation, type FederationOptions, openFederation } from './federation.ts';
export type { PeerLink } from './follow-peer.ts';
export type { PeerQuota, PeerStatus } from './mirror.ts';
export type { PeerTimes } from './peer-state.ts';
