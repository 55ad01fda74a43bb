// Join tokens in the cluster store: made, listed, found by what is presented. Only hashes are kept.
import { formatProblems, isDnsLabel, type JoinRole, type JoinToken, parseJoinToken, parseServiceName, type Problem, quote } from '@isthmus/model';
import { makeToken } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { keys, type Store, type StoreCompare, type StoreWrite } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import type { Authority } from '../authority/authority.ts';
import { fail } from '../errors.ts';
import { checkUnspent, DEFAULT_TOKEN_TTL_SECONDS, MAX_TOKEN_TTL_SECONDS, presentedToken, sameHash, tokenRefused } from '../token.ts';
import { parseRecord, readRecords } from './records.ts';

export type JoinTokenRequest = {
  readonly agent: string;
  readonly role: JoinRole;
  /** `namespace/service` names the agent may hold identities for. */
  readonly services: readonly string[];
  /** Default 3600, at most 7 days. */
  readonly ttlSeconds?: number | undefined;
};
/** `token` is shown once: only its hash is kept. */
export type CreatedJoinToken = { readonly token: string; readonly id: string; readonly expiresAtMs: number };

/** A token that may be spent now, with the revision that spending it is fenced by. */
export type SpendableToken = { readonly kept: JoinToken; readonly modRevision: bigint };

/** What else must hold for a token to be made, and what is written with it in the same transaction. */
export type TokenFence = {
  readonly compare: readonly StoreCompare[];
  readonly then: (made: { readonly id: string; readonly expiresAtMs: number }) => readonly StoreWrite[];
};

export type TokenStore = ReturnType<typeof openTokenStore>;

export function openTokenStore(options: {
  readonly authority: Pick<Authority, 'rootSha256' | 'rootPins' | 'federation'>;
  readonly store: Store;
  readonly cluster: string;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { authority, store, cluster, clock, log } = options;

  const check = (request: JoinTokenRequest): void => {
    const problems = requestProblems(request);
    if (problems.length > 0) throw fail('IDENTITY_TOKEN_INVALID', formatProblems(problems));
  };

  return {
    /** **Throws** IDENTITY_TOKEN_INVALID naming every wrong field. */
    check,
    /** **Throws** IDENTITY_TOKEN_INVALID naming every wrong field, IDENTITY_TOKEN_FENCED when the fence does not hold. */
    async create(request: JoinTokenRequest, fence?: TokenFence): Promise<CreatedJoinToken> {
      check(request);
      const { agent, role, services, ttlSeconds = DEFAULT_TOKEN_TTL_SECONDS } = request;
      const made = makeToken({ prefix: 'ijt', pinSha256: authority.rootSha256, fields: { cluster, federation: authority.federation, agent, role } });
      const expiresAtMs = clock.nowMs() + ttlSeconds * 1_000;
      const kept: JoinToken = { kind: 'join-token', id: made.id, secretSha256: made.secretSha256, agent, services: [...services], role, expiresAtMs };
      const { ok } = await store.txn({
        compare: [{ key: keys.joinToken(made.id), exists: false }, ...(fence?.compare ?? [])],
        then: [{ put: { key: keys.joinToken(made.id), value: JSON.stringify(kept) } }, ...(fence?.then({ id: made.id, expiresAtMs }) ?? [])],
      });
      if (!ok) throw fail('IDENTITY_TOKEN_FENCED', 'no token was made: what its making depends on changed at the same moment', { hint: 'try again' });
      log.info('join token created', { tokenId: made.id, agent, role, expiresAtMs });
      return { token: made.token, id: made.id, expiresAtMs };
    },
    list: (): Promise<JoinToken[]> => readRecords({ store, log }, keys.joinTokens(), parseJoinToken),
    async remove(id: string): Promise<void> {
      const isGone = /^[0-9a-f]{12}$/.test(id) && (await store.delete(keys.joinToken(id)));
      if (!isGone) throw fail('IDENTITY_TOKEN_NOT_FOUND', `there is no join token ${quote(id)}`);
      log.info('join token deleted', { tokenId: id });
    },

    /** The kept token a presented one stands for. **Throws** IDENTITY_TOKEN_REFUSED. */
    async find(text: string): Promise<SpendableToken> {
      const presented = presentedToken(text, 'ijt', { pins: authority.rootPins() });
      if (presented.fields['cluster'] !== cluster) throw tokenRefused(`it is for cluster ${quote(presented.fields['cluster'] ?? '')}, this is ${cluster}`);
      const found = await store.get(keys.joinToken(presented.id));
      const kept = found === undefined ? undefined : parseRecord(found.value, parseJoinToken);
      if (found === undefined || kept === undefined || !sameHash(kept.secretSha256, presented.secretSha256)) {
        throw tokenRefused('it is unknown here, or was deleted');
      }
      checkUnspent(kept, clock.nowMs());
      return { kept, modRevision: found.modRevision };
    },
  };
}

function requestProblems(request: JoinTokenRequest): Problem[] {
  const problems: Problem[] = [];
  if (!isDnsLabel(request.agent)) problems.push({ path: 'agent', message: `${quote(request.agent)} is no DNS label (1-63 of a-z, 0-9 and -)` });
  if (request.role !== 'agent' && request.role !== 'gateway' && request.role !== 'operator') problems.push({ path: 'role', message: 'must be agent, gateway or operator' });
  if (request.services.length > 64) problems.push({ path: 'services', message: `at most 64, got ${request.services.length}` });
  for (const [i, name] of request.services.slice(0, 64).entries()) {
    const parsed = parseServiceName(name, `services[${i}]`);
    if (!parsed.ok) problems.push(...parsed.problems);
  }
  if (request.role !== 'agent' && request.services.length > 0) problems.push({ path: 'services', message: `${request.role === 'gateway' ? 'a gateway' : 'an operator'} holds no service’s identity` });
  const ttl = request.ttlSeconds ?? DEFAULT_TOKEN_TTL_SECONDS;
  if (!Number.isInteger(ttl) || ttl < 1 || ttl > MAX_TOKEN_TTL_SECONDS) problems.push({ path: 'ttlSeconds', message: `must be a whole number from 1 to ${MAX_TOKEN_TTL_SECONDS}` });
  return problems;
}
