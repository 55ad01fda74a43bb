// `isthmus_join_token`: a one-time token by which a VM, a gateway or an operator joins. Its secret is told once, so it lives in the state.
import { randomUUID } from 'node:crypto';
import { joinTokenRequestSchema } from '@isthmus/api';
import { compileSchema } from '@isthmus/model';
import type { Api } from '../connection/api.ts';
import { attributesOf, toDocument } from '../from-schema.ts';
import { type Attributes, BOOL, mapOf, NUMBER, STRING } from '../protocol/attribute.ts';
import type { Outcome, ResourceDefinition } from '../protocol/definition.ts';
import { numberAt, textAt, type ValueObject } from '../protocol/value.ts';
import { absentAsUndefined, documentProblems, isUnclear } from './declared.ts';
import { CLUSTER, clusterOf, clusterProblems, ID, importParts, withCluster } from './scope.ts';

const GIVEN = ['agent', 'role', 'services', 'ttl_seconds'];

const attributes: Attributes = {
  id: ID,
  cluster: { ...CLUSTER, description: 'Name of the cluster it lets somebody join; the provider’s `cluster` without it.' },
  ...attributesOf(joinTokenRequestSchema, { replaces: GIVEN }),
  keepers: { type: mapOf(STRING), mode: 'optional', replaces: true, description: 'Any values; a change of them makes a new token, such as the ID of the machine that is to join.' },
  token_id: { type: STRING, mode: 'computed', description: 'The token’s name in the admin API: 12 hex digits.' },
  token: { type: STRING, mode: 'computed', isSensitive: true, isNullable: true, description: 'The secret. It is told once and good for one join; null after an import.' },
  expires_at_ms: { type: NUMBER, mode: 'computed', description: 'When it ends, Unix time in milliseconds.' },
  used: { type: BOOL, mode: 'computed', description: 'Whether somebody joined with it.' },
};

type Made = { readonly id: string; readonly token?: string; readonly expiresAtMs: number };
type Kept = { readonly agent: string; readonly role: string; readonly services: readonly string[]; readonly expiresAtMs: number; readonly usedAtMs?: number };

/** Tries at a token whose secret was lost with an answer. */
const MAX_TRIES = 3;

export function joinToken(nowMs: () => number): ResourceDefinition<Api> {
  const idOf = (api: Api, state: ValueObject, tokenId: string): string => `${clusterOf(api, state)}/${tokenId}`;
  const paramsOf = (api: Api, state: ValueObject): Record<string, string> => ({ cluster: clusterOf(api, state), id: textAt(state, 'token_id') ?? '' });

  const make = async (api: Api, planned: ValueObject, signal: AbortSignal, triesLeft: number): Promise<Made> => {
    const params = { cluster: clusterOf(api, planned) };
    const { value } = await api.call<Made>('createJoinTokens', { params, body: toDocument(joinTokenRequestSchema, planned), idempotencyKey: randomUUID() }, signal);
    if (value.token !== undefined || triesLeft <= 1) return value;
    // It was made by a call whose answer was lost, and the secret with it: of no use to anybody, so it goes.
    await absentAsUndefined(api.call('deleteJoinTokens', { params: { ...params, id: value.id }, idempotencyKey: randomUUID() }, signal));
    return make(api, planned, signal, triesLeft - 1);
  };

  return {
    typeName: 'isthmus_join_token',
    description: 'A one-time token that lets an agent, a gateway or an operator join a cluster. The state holds its secret: keep it where others cannot read it. A token that was used or ran out stays as it is; `keepers`, or `terraform apply -replace`, makes a new one.',
    example: `resource "isthmus_join_token" "vm" {
  cluster     = "east"
  agent       = "vm-1"
  role        = "agent"
  services    = ["shop/payments"]
  ttl_seconds = 3600
  keepers     = { machine = "i-0123" }
}`,
    importId: 'cluster/token_id',
    attributes,
    validate: (config) => [...clusterProblems(config), ...documentProblems(joinTokenRequestSchema, parseRequest, givenOf(config))],
    // How long it was to live is nowhere to be read: after an import any answer is right.
    plan: ({ api, config, prior, proposed }) => ({ ...withCluster(api, config, proposed), keeps: prior !== null && prior['ttl_seconds'] === null ? ['ttl_seconds', 'keepers'] : [] }),
    create: async (api, planned, { signal }): Promise<Outcome> => {
      const made = await make(api, planned, signal, MAX_TRIES);
      return { state: { ...planned, id: idOf(api, planned, made.id), token_id: made.id, token: made.token ?? null, expires_at_ms: made.expiresAtMs, used: false } };
    },
    read: async (api, state, _kept, { signal }): Promise<Outcome> => {
      const found = await absentAsUndefined(api.call<Kept>('getJoinTokens', { params: paramsOf(api, state) }, signal));
      if (found === undefined) return { state: isSpent(state, nowMs()) ? state : null };
      const { agent, role, services, expiresAtMs, usedAtMs } = found.value;
      const tokenId = textAt(state, 'token_id') ?? '';
      const hasServices = services.length > 0 || state['services'] !== null;
      return { state: { ...state, id: idOf(api, state, tokenId), cluster: clusterOf(api, state), agent, role, services: hasServices ? [...services] : null, expires_at_ms: expiresAtMs, used: usedAtMs !== undefined } };
    },
    // Only what makes no difference to a token gets here: `timeouts`, and what an import could not know.
    update: async (_api, planned, _prior, kept) => ({ state: planned, private: kept }),
    remove: async (api, state, _kept, { signal }) => {
      try {
        await absentAsUndefined(api.call('deleteJoinTokens', { params: paramsOf(api, state), idempotencyKey: randomUUID() }, signal));
      } catch (error) {
        if (!isUnclear(error) || !isSpent(state, nowMs())) throw error;
      }
    },
    fromImportId: (id, api) => importParts(id, ['token_id'], api),
  };
}

const parseRequest = compileSchema(joinTokenRequestSchema);

function givenOf(config: ValueObject): ValueObject {
  return Object.fromEntries(GIVEN.map((name) => [name, config[name] ?? null]));
}

/** Used or over: that it is gone then is as it should be. */
function isSpent(state: ValueObject, nowMs: number): boolean {
  return state['used'] === true || (numberAt(state, 'expires_at_ms') ?? Number.POSITIVE_INFINITY) <= nowMs;
}
