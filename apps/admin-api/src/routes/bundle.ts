// Bundles as documents: what is known of a foreign one, taking one by hand, and any bundle in force for others to read.
import { fail } from '@isthmus/api';
import type { ControlPlane } from '../control-plane.ts';
import type { Answered, Work } from '../server.ts';

/** The state of a foreign trust domain's bundle. **Throws** API_NOT_FOUND. */
export async function foreignBundleState(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  const { trustDomain = '' } = work.params;
  const found = (await controlPlane.foreignStates()).find((state) => state['trustDomain'] === trustDomain);
  if (found === undefined) throw fail('API_NOT_FOUND', `no foreign trust domain ${trustDomain} is federated with this cluster`, { hint: 'declare it first' });
  return { status: 200, value: found };
}

/** Takes a bundle document whose fingerprint the caller knows by another way. */
export async function importForeignBundle(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  const { document, sha256 } = work.body as { readonly document: string; readonly sha256: string };
  return { status: 200, value: await controlPlane.importBundle(work.params['trustDomain'] ?? '', document, sha256) };
}

/** A bundle in force, foreign or ours. */
export async function bundleDocument(controlPlane: ControlPlane, work: Work): Promise<Answered> {
  return { status: 200, value: await controlPlane.exportBundle(work.params['trustDomain'] ?? '') };
}
