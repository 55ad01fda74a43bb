// Join tokens in the cluster store: made, listed, found by what is presented. Only hashes are kept.
import { formatProblems, isDnsLabel, type JoinToken, parseJoinToken, parseServiceName, type Problem, quote } from '@isthmus/model';
import { makeToken } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { keys, type Store } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import type { Authority } from '../authority/authority.ts';
import { fail } from '../errors.ts';
import { checkUnspent, DEFAULT_TOKEN_TTL_SECONDS, MAX_TOKEN_TTL_SECONDS, presentedToken, sameHash, tokenRefused } from '../token.ts';
import { parseRecord, readRecords } from './records.ts';

export type JoinTokenRequest = {
  readonly agent: string;
  readonly role: 'agent' | 'gateway';
  /** `namespace/service` names the agent may hold identities for. */
  readonly services: readonly string[];
  /** Default 3600, at most 7 days. */
  readonly ttlSeconds?: number | undefined;
};
/** `token` is shown once: only its hash is kept. */
export type CreatedJoinToken = { readonly token: string; readonly id: string; readonly expiresAtMs: number };

/** A token that may be spent now, with the revision that spending it is fenced by. */
export type SpendableToken = { readonly kept: JoinToken; readonly modRevision: bigint };

export type TokenStore = ReturnType<typeof openTokenStore>;

export function openTokenStore(options: {
  readonly authority: Pick<Authority, 'rootSha256' | 'rootPins' | 'federation'>;
  readonly store: Store;
  readonly cluster: string;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { authority, store, cluster, clock, log } = options;

  return {
    /** **Throws** IDENTITY_TOKEN_INVALID naming every wrong field. */
    async create(request: JoinTokenRequest): Promise<CreatedJoinToken> {
      const problems = requestProblems(request);
      if (problems.length > 0) throw fail('IDENTITY_TOKEN_INVALID', formatProblems(problems));
      const { agent, role, services, ttlSeconds = DEFAULT_TOKEN_TTL_SECONDS } = request;
      const made = makeToken({ prefix: 'ijt', pinSha256: authority.rootSha256, fields: { cluster, federation: authority.federation, agent, role } });
      const expiresAtMs = clock.nowMs() + ttlSeconds * 1_000;
      const kept: JoinToken = { kind: 'join-token', id: made.id, secretSha256: made.secretSha256, agent, services: [...services], role, expiresAtMs };
      await store.txn({
        compare: [{ key: keys.joinToken(made.id), exists: false }],
        then: [{ put: { key: keys.joinToken(made.id), value: JSON.stringify(kept) } }],
      });
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
  if (request.role !== 'agent' && request.role !== 'gateway') problems.push({ path: 'role', message: 'must be agent or gateway' });
  if (request.services.length > 64) problems.push({ path: 'services', message: `at most 64, got ${request.services.length}` });
  for (const [i, name] of request.services.slice(0, 64).entries()) {
    const parsed = parseServiceName(name, `services[${i}]`);
    if (!parsed.ok) problems.push(...parsed.problems);
  }
  if (request.role === 'gateway' && request.services.length > 0) problems.push({ path: 'services', message: 'a gateway holds no service’s identity' });
  const ttl = request.ttlSeconds ?? DEFAULT_TOKEN_TTL_SECONDS;
  if (!Number.isInteger(ttl) || ttl < 1 || ttl > MAX_TOKEN_TTL_SECONDS) problems.push({ path: 'ttlSeconds', message: `must be a whole number from 1 to ${MAX_TOKEN_TTL_SECONDS}` });
  return problems;
}
