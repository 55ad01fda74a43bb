// The engines there are, each loaded only when it is wanted: the linux one brings native code with it.
import { fail } from '../errors.ts';
import type { EngineKind, StartRelay } from './engine.ts';

/** Loads an engine. **Throws** DATAPLANE_ENGINE_UNAVAILABLE where it cannot be loaded. */
export const engines: Readonly<Record<EngineKind, () => Promise<StartRelay>>> = {
  linux: () => Promise.reject(fail('DATAPLANE_ENGINE_UNAVAILABLE', 'this build has no linux engine')),
  portable: async () => (await import('./portable/relay.ts')).startPortableRelay,
};
