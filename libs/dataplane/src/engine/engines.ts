// The engines there are, each loaded only when it is wanted: the linux one brings native code with it.
import { messageOf } from '@isthmus/model';
import { fail } from '../errors.ts';
import type { EngineKind, StartRelay } from './engine.ts';

/** Loads an engine. **Throws** DATAPLANE_ENGINE_UNAVAILABLE where it cannot be loaded. */
export const engines: Readonly<Record<EngineKind, () => Promise<StartRelay>>> = {
  linux: async () => {
    try {
      return (await import('./linux/relay.ts')).startLinuxRelay;
    } catch (error) {
      throw fail('DATAPLANE_ENGINE_UNAVAILABLE', `the linux engine cannot be loaded: ${messageOf(error)}`, { cause: error });
    }
  },
  portable: async () => (await import('./portable/relay.ts')).startPortableRelay,
};
