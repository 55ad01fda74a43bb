// `isthmus_cluster`: a cluster's place in the federation, from its bootstrap token to its removal. The trust root alone gives and takes it.
import { clusterTrustDomain, IsthmusError, parseClusterName } from '@isthmus/model';
import type { Api } from '../connection/api.ts';
import { fail } from '../errors.ts';
import { BOOL, NUMBER, setOf, STRING } from '../protocol/attribute.ts';
import type { Outcome, ResourceDefinition } from '../protocol/definition.ts';
import { numberAt, textAt, type ValueObject } from '../protocol/value.ts';
import { ID } from './scope.ts';

const DEFAULT_TTL_SECONDS = 3_600;
const MAX_TTL_SECONDS = 604_800;

export function cluster(nowMs: () => number): ResourceDefinition<Api> {
  const read = async (api: Api, state: ValueObject, signal: AbortSignal): Promise<Outcome> => {
    const name = textAt(state, 'name') ?? '';
    const { federation, members } = await api.membership.members(signal);
    const member = members.find((m) => m.cluster === name);
    // Never joined, and the token is over: nothing is left of it, and a new token is what helps.
    const isOver = (numberAt(state, 'expires_at_ms') ?? 0) <= nowMs();
    if (member === undefined && (state['member'] === true || isOver)) return { state: null };
    return { state: { ...state, id: name, trust_domain: clusterTrustDomain(name, federation), member: member !== undefined, locality: member?.locality ?? null, gateways: member === undefined ? null : [...member.gateways] } };
  };
  return {
    typeName: 'isthmus_cluster',
    description: 'A cluster’s place in the federation. Creating it makes the one-time bootstrap token its control plane joins with; destroying it takes the cluster out of the federation. It goes through the admin API where the trust root’s `operators` let it, or to the provider’s `trust_root_socket`, as for the first cluster.',
    example: `resource "isthmus_cluster" "east" {
  name                        = "east"
  bootstrap_token_ttl_seconds = 3600
}`,
    importId: 'name',
    attributes: {
      id: ID,
      name: { type: STRING, mode: 'required', replaces: true, description: 'A DNS label of at most 32 characters; with the federation’s it makes the cluster’s trust domain.' },
      bootstrap_token_ttl_seconds: { type: NUMBER, mode: 'optional', description: `How long the bootstrap token is good, from 1 to ${MAX_TTL_SECONDS} seconds. Default \`${DEFAULT_TTL_SECONDS}\`. A change counts for the next token.` },
      bootstrap_token: { type: STRING, mode: 'computed', isSensitive: true, isNullable: true, description: 'The token the control plane joins with, once. Null after an import.' },
      expires_at_ms: { type: NUMBER, mode: 'computed', isNullable: true, description: 'When the bootstrap token ends, Unix time in milliseconds.' },
      trust_domain: { type: STRING, mode: 'computed', description: 'The SPIFFE trust domain of its workloads.' },
      member: { type: BOOL, mode: 'computed', description: 'Whether its control plane has joined.' },
      locality: { type: STRING, mode: 'computed', isNullable: true, description: 'Where it says it is; null until it joined.' },
      gateways: { type: setOf(STRING), mode: 'computed', isNullable: true, description: '`host:port` of its gateways, as others reach them; null until it joined.' },
    },
    validate: (config) => {
      const name = textAt(config, 'name');
      const parsed = name === undefined ? undefined : parseClusterName(name, 'name');
      const ttl = numberAt(config, 'bootstrap_token_ttl_seconds');
      const isWrong = ttl !== undefined && (!Number.isInteger(ttl) || ttl < 1 || ttl > MAX_TTL_SECONDS);
      return [...(parsed?.ok === false ? parsed.problems : []), ...(isWrong ? [{ path: 'bootstrap_token_ttl_seconds', message: `must be a whole number from 1 to ${MAX_TTL_SECONDS}` }] : [])];
    },
    create: async (api, planned, { signal }) => {
      const name = textAt(planned, 'name') ?? '';
      const { federation } = await api.membership.members(signal);
      const made = await api.membership.createToken({ cluster: name, ttlSeconds: numberAt(planned, 'bootstrap_token_ttl_seconds') ?? DEFAULT_TTL_SECONDS }, signal).catch((error: unknown) => {
        if (!(error instanceof IsthmusError) || error.code !== 'IDENTITY_CLUSTER_EXISTS') throw error;
        throw fail('TERRAFORM_EXISTS', `${name} is a member of the federation already, and Terraform did not make it`, { hint: `take it over with \`terraform import isthmus_cluster.NAME ${name}\``, cause: error });
      });
      return { state: { ...planned, id: name, bootstrap_token: made.token, expires_at_ms: made.expiresAtMs, trust_domain: clusterTrustDomain(name, federation), member: false, locality: null, gateways: null } };
    },
    read: (api, state, _kept, { signal }) => read(api, state, signal),
    update: async (_api, planned, _prior, kept) => ({ state: planned, private: kept }),
    remove: async (api, state, _kept, { signal }) => {
      const name = textAt(state, 'name') ?? '';
      const { members } = await api.membership.members(signal);
      if (!members.some((m) => m.cluster === name)) return;
      await api.membership.remove(name, signal).catch((error: unknown) => {
        // The first answer was lost.
        if (!(error instanceof IsthmusError) || error.code !== 'IDENTITY_CLUSTER_NOT_FOUND') throw error;
      });
    },
    fromImportId: (id) => {
      const name = parseClusterName(id);
      if (!name.ok) throw fail('TERRAFORM_ID_INVALID', `${JSON.stringify(id)} is no name of a cluster`);
      return { name: id, member: true };
    },
  };
}
