// The words of Isthmus. No I/O, no clock; runs anywhere.
export * from './bundle.ts';
export * from './digest.ts';
export * from './duration.ts';
export * from './error.ts';
export * from './import.ts';
export * from './locality.ts';
export * from './name.ts';
export * from './peer.ts';
export * from './problem.ts';
export * from './resource/export.ts';
export * from './resource/join-token.ts';
export * from './resource/service.ts';
export * from './resource/workload.ts';
export * from './schema.ts';
export * from './snapshot.ts';
export * from './sni.ts';
export * from './spiffe-id.ts';
