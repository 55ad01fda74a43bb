// Who is a member of the federation, and who may become one: through the admin API, or at the trust root's own socket before there is any.
import { randomUUID } from 'node:crypto';
import { type IsthmusError } from '@isthmus/model';
import { call, openChannel, trust } from '@isthmus/rpc';
import { silentLog } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { Api } from './api.ts';

const TIMEOUT_MS = 10_000;
/** Tries at a token whose secret was lost with an answer. */
const MAX_TRIES = 3;

export type Member = { readonly cluster: string; readonly trustDomain: string; readonly locality: string; readonly gateways: readonly string[] };

/** **Throws** IDENTITY_CLUSTER_EXISTS, IDENTITY_CLUSTER_NOT_FOUND, IDENTITY_OPERATOR_DENIED, RPC_*, API_*. */
export interface Membership {
  members(signal: AbortSignal): Promise<{ readonly federation: string; readonly members: readonly Member[] }>;
  /** A token whose secret was lost with an answer is left to run out unused, and another made. */
  createToken(request: { readonly cluster: string; readonly ttlSeconds: number }, signal: AbortSignal): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  remove(cluster: string, signal: AbortSignal): Promise<void>;
}

/** Through the admin API: the trust root's configuration must let its caller admit and remove members. */
export function membershipOverApi(api: Pick<Api, 'call' | 'list' | 'federation'>): Membership {
  return {
    members: async (signal) => ({ federation: api.federation(), members: (await api.list('listClusters', {}, signal)).map(({ document }) => document as unknown as Member) }),
    createToken: async (body, signal) => {
      for (let triesLeft = MAX_TRIES; ; triesLeft -= 1) {
        const { value } = await api.call<{ readonly token?: string; readonly expiresAtMs: number }>('createClusterToken', { body, idempotencyKey: randomUUID() }, signal);
        if (value.token !== undefined) return { token: value.token, expiresAtMs: value.expiresAtMs };
        if (triesLeft <= 1) throw fail('TERRAFORM_TIMEOUT', `the answers with the bootstrap token of ${body.cluster} were lost ${MAX_TRIES} times`, { hint: 'apply again when the connection to the admin API is better' });
      }
    },
    remove: async (cluster, signal) => {
      await api.call('removeMember', { params: { member: cluster }, idempotencyKey: randomUUID() }, signal);
    },
  };
}

/** At the trust root's Unix socket. **Throws** TERRAFORM_NOT_CONFIGURED where nobody answers there. */
export function membershipAtSocket(socket: string): Membership {
  const within = async <T>(use: (client: trust.TrustRootAdminClient) => Promise<T>): Promise<T> => {
    const channel = openChannel({ address: `unix:${socket}`, log: silentLog() });
    try {
      return await use(channel.client(trust.TrustRootAdminClient));
    } catch (error) {
      throw (error as IsthmusError).code === 'RPC_UNAVAILABLE' ? fail('TERRAFORM_NOT_CONFIGURED', `trust_root_socket: the trust root does not answer at ${socket}`, { cause: error }) : error;
    } finally {
      channel.close();
    }
  };
  const limit = (signal: AbortSignal) => ({ timeoutMs: TIMEOUT_MS, signal });
  return {
    members: (signal) => within((client) => call(client.getFederation.bind(client), {}, limit(signal))),
    createToken: (request, signal) =>
      within(async (client) => {
        const made = await call(client.createClusterToken.bind(client), { ...request, replace: false }, limit(signal));
        return { token: made.token, expiresAtMs: Number(made.expiresAtMs) };
      }),
    remove: async (cluster, signal) => {
      await within((client) => call(client.removeCluster.bind(client), { cluster }, limit(signal)));
    },
  };
}
