// `isthmus_peer`: that one cluster hears another. Peering makes itself from membership; this waits for it, so that what needs it comes after.
import { parseClusterName } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Api } from '../connection/api.ts';
import { isPassing } from '../connection/retry.ts';
import { fail } from '../errors.ts';
import { setOf, STRING } from '../protocol/attribute.ts';
import type { Outcome, ResourceDefinition } from '../protocol/definition.ts';
import { textAt, type ValueObject } from '../protocol/value.ts';
import { absentAsUndefined } from './declared.ts';
import { CLUSTER, clusterOf, clusterProblems, ID, importParts, withCluster } from './scope.ts';

const POLL_MS = 500;

type Seen = { readonly state: string; readonly lastError?: string };

export function peer(clock: Pick<Clock, 'sleep'>): ResourceDefinition<Api> {
  const seen = async (api: Api, state: ValueObject, signal: AbortSignal): Promise<Seen | undefined> =>
    (await absentAsUndefined(api.call<Seen>('getPeers', { params: { cluster: clusterOf(api, state), peer: textAt(state, 'peer') ?? '' } }, signal)))?.value;
  const known = async (api: Api, state: ValueObject, signal: AbortSignal): Promise<ValueObject> => {
    const name = textAt(state, 'peer') ?? '';
    const members = await api.list('listClusters', {}, signal);
    const member = members.find(({ document }) => document['cluster'] === name)?.document;
    const gateways = member?.['gateways'];
    return { ...state, cluster: clusterOf(api, state), id: `${clusterOf(api, state)}/${name}`, trust_domain: String(member?.['trustDomain'] ?? ''), gateways: Array.isArray(gateways) ? gateways.map(String) : [] };
  };
  return {
    typeName: 'isthmus_peer',
    description: 'That `cluster` hears `peer`. Clusters of one federation become peers by themselves; creating this waits until it is so, so that exports and workloads that need it can depend on it. Destroying it changes nothing.',
    example: `resource "isthmus_peer" "east_hears_west" {
  cluster  = "east"
  peer     = "west"
  timeouts = { create = "5m" }
}`,
    importId: 'cluster/peer',
    attributes: {
      id: ID,
      cluster: { ...CLUSTER, description: 'Name of the cluster that is to hear the other; the provider’s `cluster` without it.' },
      peer: { type: STRING, mode: 'required', replaces: true, description: 'Name of the cluster that is to be heard.' },
      trust_domain: { type: STRING, mode: 'computed', description: 'Trust domain of the peer.' },
      gateways: { type: setOf(STRING), mode: 'computed', description: '`host:port` of the peer’s gateways.' },
    },
    validate: (config) => {
      const name = textAt(config, 'peer');
      const parsed = name === undefined ? undefined : parseClusterName(name, 'peer');
      const isItself = name !== undefined && name === textAt(config, 'cluster');
      return [...clusterProblems(config), ...(parsed?.ok === false ? parsed.problems : []), ...(isItself ? [{ path: 'peer', message: 'must be another cluster than `cluster`' }] : [])];
    },
    plan: ({ api, config, proposed }) => withCluster(api, config, proposed),
    create: async (api, planned, { signal }): Promise<Outcome> => {
      let last = 'it is no member of the federation as far as is known there';
      for (;;) {
        try {
          const now = await seen(api, planned, signal);
          if (now?.state === 'fresh') return { state: await known(api, planned, signal) };
          if (now !== undefined) last = `its state there is ${now.state}${now.lastError === undefined ? '' : ` (${now.lastError})`}`;
          await clock.sleep(POLL_MS, signal);
        } catch (error) {
          if (signal.aborted || isPassing(error)) throw fail('TERRAFORM_TIMEOUT', `${clusterOf(api, planned)} does not hear ${textAt(planned, 'peer')}: ${last}`, { hint: 'see `isthmus cluster peers` there; `timeouts.create` says how long is waited', cause: error });
          throw error;
        }
      }
    },
    read: async (api, state, _kept, { signal }): Promise<Outcome> => {
      const now = await seen(api, state, signal);
      if (now === undefined) return { state: null };
      const warnings = now.state === 'fresh' ? [] : [`${clusterOf(api, state)} holds ${textAt(state, 'peer')} for ${now.state}${now.lastError === undefined ? '' : `: ${now.lastError}`}`];
      return { state: await known(api, state, signal), warnings };
    },
    update: async (_api, planned, _prior, kept) => ({ state: planned, private: kept }),
    remove: async () => undefined,
    fromImportId: (id, api) => importParts(id, ['peer'], api),
  };
}
