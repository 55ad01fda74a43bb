// The federation as one cluster sees it: each other cluster asked itself, and where it does not answer, what its mirror says and how old that is.
import { IsthmusError } from '@isthmus/model';
import { attentionOf, type ClusterPart, fail, statusOf, toProblemDocument, type TrustPart } from '@isthmus/api';
import type { Clock } from '@isthmus/runtime';
import type { ControlPlane, Found } from '../control-plane.ts';
import type { Config } from '../config.ts';
import type { Forward } from '../forward.ts';
import type { Answered, Work } from '../server.ts';
import type { TrustRoot } from '../trust-root.ts';
import { cursorOf, pageLimit, toItem } from './read.ts';

type Parts = { readonly config: Config; readonly controlPlane: ControlPlane; readonly forward: Forward; readonly trustRoot: TrustRoot; readonly clock: Clock };

/** Every cluster's state, the root of trust's, and what of all that needs a look: what cannot be reached is a problem in its own part only. */
export async function federationStatus(parts: Parts, work: Work): Promise<object> {
  const { config, controlPlane, forward } = parts;
  const [own, members, peers] = await Promise.all([controlPlane.status(), controlPlane.list({ kind: 'member' }), controlPlane.list({ kind: 'peer' })]);
  const others = members.items.map((m) => String(m.document['cluster'])).filter((cluster) => cluster !== config.cluster);
  const ask = async (cluster: string): Promise<ClusterPart> => {
    const peer = peers.items.find((p) => p.document['cluster'] === cluster)?.document;
    try {
      if (work.caller.forwardedBy !== undefined) throw fail('API_FORWARD_REFUSED', 'a forwarded request is not forwarded on');
      return { cluster, source: 'forwarded', status: (await forward.get(cluster, `/v1/clusters/${cluster}/status`, work)) as Readonly<Record<string, unknown>> };
    } catch (error) {
      return { cluster, source: 'mirror', ...ageOf(peer), status: peer ?? {}, problem: problemOf(error) };
    }
  };
  const [trust, ...answered] = await Promise.all([trustPart(parts, work), ...others.map(ask)]);
  const clusters: readonly ClusterPart[] = [{ cluster: config.cluster, source: 'own', status: own }, ...answered];
  return { cluster: config.cluster, clusters, ...(trust !== undefined && { trust }), attention: attentionOf(clusters, trust, parts.clock.nowMs()) };
}

/** The root of trust, where this admin API was told where it is. */
async function trustPart({ config, trustRoot }: Parts, work: Work): Promise<TrustPart | undefined> {
  if (config.trustRoot === undefined) return undefined;
  return trustRoot.rotation(work).catch((error: unknown) => ({ problem: problemOf(error) }));
}

function problemOf(error: unknown): { readonly status: number; readonly code: string; readonly detail: string } {
  const { status, code, detail } = toProblemDocument(error);
  return { status: error instanceof IsthmusError ? statusOf(error) : status, code, detail };
}

/** What another cluster offers, from its mirror here: there also while that cluster is away, and it says how old it is. */
export async function mirroredExports(controlPlane: ControlPlane, cluster: string, work: Work): Promise<Answered> {
  const [imports, peer] = await Promise.all([controlPlane.list({ kind: 'import', namespace: work.query['namespace'] ?? '' }), controlPlane.get('peer', cluster)]);
  if (peer === undefined) throw fail('API_CLUSTER_UNKNOWN', `no cluster ${cluster} is a member of the federation`);
  const isVisible = (found: Found): boolean => work.namespaces === 'all' || work.namespaces.has(String(found.document['namespace']));
  const after = cursorOf(work);
  const limit = pageLimit(work);
  const all = imports.items.filter((i) => i.document['cluster'] === cluster && i.key > after && isVisible(i)).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const shown = all.slice(0, limit);
  const last = all.length > limit ? shown.at(-1)?.key : undefined;
  return { status: 200, value: { cluster, items: shown.map(toItem), ...(last !== undefined && { next: Buffer.from(last).toString('base64url') }), ...ageOf(peer.document) } };
}

function ageOf(peer: Readonly<Record<string, unknown>> | undefined): { readonly ageMs?: number } {
  return typeof peer?.['ageMs'] === 'number' ? { ageMs: Math.round(peer['ageMs']) } : {};
}
