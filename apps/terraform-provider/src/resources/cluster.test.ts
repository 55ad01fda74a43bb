import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import type { Api } from '../connection/api.ts';
import type { Member } from '../connection/membership.ts';
import { cluster } from './cluster.ts';

const WEST: Member = { cluster: 'west', trustDomain: 'west.acme.example', locality: 'us', gateways: ['192.0.2.1:15443'] };
const operation = { signal: new AbortController().signal };
const planned = { id: null, name: 'west', bootstrap_token_ttl_seconds: null, timeouts: null };

/** A trust root that has these members, and refuses what it is told to. */
function apiOf(members: readonly Member[], refuses: { readonly create?: string; readonly remove?: string } = {}): { readonly api: Api; readonly removed: string[] } {
  const removed: string[] = [];
  const refuse = (code: string | undefined): void => {
    if (code !== undefined) throw new IsthmusError(code, 'conflict', code);
  };
  const membership: Api['membership'] = {
    members: async () => ({ federation: 'acme.example', members }),
    createToken: async ({ ttlSeconds }) => (refuse(refuses.create), { token: 'ict1.x', expiresAtMs: ttlSeconds * 1_000 }),
    remove: async (name) => (removed.push(name), refuse(refuses.remove)),
  };
  return { api: { membership } as Api, removed };
}

test('a cluster begins as a token, and is a member once it joined', async () => {
  const { state } = await cluster(() => 0).create(apiOf([]).api, planned, operation);
  assert.deepEqual([state?.['bootstrap_token'], state?.['expires_at_ms'], state?.['member'], state?.['trust_domain']], ['ict1.x', 3_600_000, false, 'west.acme.example']);
  const joined = await cluster(() => 0).read(apiOf([WEST]).api, state ?? {}, {}, operation);
  assert.deepEqual([joined.state?.['member'], joined.state?.['gateways'], joined.state?.['bootstrap_token']], [true, WEST.gateways, 'ict1.x']);
});

test('a token that ran out before anybody joined is nothing any more, as is a member that is none', async () => {
  const waiting = { ...planned, name: 'west', member: false, expires_at_ms: 100 };
  assert.ok((await cluster(() => 50).read(apiOf([]).api, waiting, {}, operation)).state !== null);
  assert.equal((await cluster(() => 150).read(apiOf([]).api, waiting, {}, operation)).state, null);
  assert.equal((await cluster(() => 50).read(apiOf([]).api, { ...waiting, member: true }, {}, operation)).state, null);
  assert.ok((await cluster(() => 150).read(apiOf([WEST]).api, waiting, {}, operation)).state !== null);
});

test('a member that is there already is not made, and one that is gone already is removed', async () => {
  await assert.rejects(cluster(() => 0).create(apiOf([WEST], { create: 'IDENTITY_CLUSTER_EXISTS' }).api, planned, operation), { code: 'TERRAFORM_EXISTS', hint: /terraform import isthmus_cluster\.NAME west/ });
  const lost = apiOf([WEST], { remove: 'IDENTITY_CLUSTER_NOT_FOUND' });
  await cluster(() => 0).remove(lost.api, planned, {}, operation);
  assert.deepEqual(lost.removed, ['west']);
  const none = apiOf([]);
  await cluster(() => 0).remove(none.api, planned, {}, operation);
  assert.deepEqual(none.removed, []);
  await assert.rejects(cluster(() => 0).remove(apiOf([WEST], { remove: 'IDENTITY_OPERATOR_DENIED' }).api, planned, {}, operation), { code: 'IDENTITY_OPERATOR_DENIED' });
});
