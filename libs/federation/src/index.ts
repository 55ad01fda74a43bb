// Cluster to cluster: exports into signed digests, peers watched and mirrored, their states.
export { type ExportedService, type Federation, type FederationOptions, openFederation, type PeerStatus } from './federation.ts';
export type { ImportedService } from '@isthmus/model';
