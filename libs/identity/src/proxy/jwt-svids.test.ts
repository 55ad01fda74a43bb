import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spiffeIds } from '@isthmus/model';
import { fakeClock } from '@isthmus/runtime/testing';
import { generateKey, jwtAuthorityOf, openBundleSet, signJwtSvid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { type JwtSvid, openJwtSvids, checkJwtSvid } from './jwt-svids.ts';

const PAYMENTS = { namespace: 'shop', name: 'payments' };
const LIFE_MS = 300_000;

function setUp(): { readonly clock: ReturnType<typeof fakeClock>; readonly jwts: ReturnType<typeof openJwtSvids>; readonly asked: string[]; fails: boolean } {
  const clock = fakeClock();
  const asked: string[] = [];
  const state = {
    clock,
    asked,
    fails: false,
    jwts: openJwtSvids({
      clock,
      request: async (service, audience): Promise<JwtSvid> => {
        asked.push(`${service.name} ${audience.join(',')}`);
        if (state.fails) throw new Error('away');
        return { token: `token ${asked.length}`, expiresAtMs: clock.nowMs() + LIFE_MS };
      },
    }),
  };
  return state;
}
const tokenOf = async (jwts: ReturnType<typeof openJwtSvids>, audience: readonly string[] = ['a']): Promise<string> => (await jwts.get(PAYMENTS, audience)).token;

test('a token is kept for its service and audiences, in whatever order, and asked for once however many want it', async () => {
  const { jwts, asked } = setUp();
  assert.deepEqual(await Promise.all([tokenOf(jwts, ['a', 'b']), tokenOf(jwts, ['b', 'a']), tokenOf(jwts, ['a', 'b'])]), ['token 1', 'token 1', 'token 1']);
  assert.equal(await tokenOf(jwts, ['a']), 'token 2');
  assert.equal((await jwts.get({ namespace: 'shop', name: 'cart' }, ['a'])).token, 'token 3');
  assert.equal(asked.length, 3);
});

test('past half its life a token is renewed behind who asks, and kept while that fails', async () => {
  const state = setUp();
  const { jwts, clock } = state;
  assert.equal(await tokenOf(jwts), 'token 1');
  await clock.advance(LIFE_MS / 2 - 1);
  assert.equal(await tokenOf(jwts), 'token 1');
  assert.equal(state.asked.length, 1);
  state.fails = true;
  await clock.advance(1);
  assert.equal(await tokenOf(jwts), 'token 1');
  assert.equal(state.asked.length, 2);
  state.fails = false;
  await new Promise(setImmediate);
  assert.equal(await tokenOf(jwts), 'token 1');
  await new Promise(setImmediate);
  assert.equal(await tokenOf(jwts), 'token 3');
});

test('a token in its last seconds is not handed out, whoever is away', async () => {
  const state = setUp();
  await tokenOf(state.jwts);
  await state.clock.advance(LIFE_MS - 5_000);
  state.fails = true;
  await assert.rejects(tokenOf(state.jwts), /away/);
  state.fails = false;
  assert.equal(await tokenOf(state.jwts), 'token 3');
});

test('at most 1,024 tokens are kept; the one longest unused goes', async () => {
  const { jwts, asked } = setUp();
  for (let i = 0; i < 1_024; i++) await tokenOf(jwts, [`audience-${i}`]);
  await tokenOf(jwts, ['audience-0']);
  await tokenOf(jwts, ['one more']);
  assert.equal(asked.length, 1_025);
  await tokenOf(jwts, ['audience-0']);
  assert.equal(asked.length, 1_025);
  await tokenOf(jwts, ['audience-1']);
  assert.equal(asked.length, 1_026);
});

test('a token is taken only as a peer would take it: for its service, its audiences, its time, by a key of the bundle', async () => {
  const nowMs = Date.now();
  const east = testAuthority();
  const key = generateKey();
  const bundles = openBundleSet([{ ...east.bundle, jwtAuthorities: [jwtAuthorityOf(key, 'k')] }]);
  const wanted = { spiffeId: spiffeIds.service(east.trustDomain, PAYMENTS), audience: ['a', 'b'] };
  const check = async (over: object): Promise<void> => checkJwtSvid(await signJwtSvid({ key, keyId: 'k', ...wanted, nowMs, ttlMs: LIFE_MS, ...over }), wanted, bundles, nowMs);
  await check({});
  const wrong = [{ spiffeId: spiffeIds.controlPlane(east.trustDomain) }, { audience: ['a'] }, { nowMs: nowMs - 2 * LIFE_MS }, { nowMs: nowMs + 2 * LIFE_MS }, { key: generateKey() }, { keyId: 'other' }];
  for (const over of wrong) await assert.rejects(check(over), { code: 'IDENTITY_PARENT_REFUSED' }, Object.keys(over)[0]);
});
