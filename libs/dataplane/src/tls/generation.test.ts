import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBundleSet } from '@isthmus/pki';
import { systemClock } from '@isthmus/runtime';
import { east, eastBundles, PAYMENTS_ID, WEB_ID } from '../proxy/testing.ts';
import { Generation, GENERATION_MS, Generations, MAX_CALLERS, MAX_SESSIONS, sessionKey } from './generation.ts';

const svid = east.issue(WEB_ID);

/** Counts what is made and freed: neither a context nor a session may be lost or freed twice. */
function counted() {
  const live = new Set<object>();
  const make = (): object => {
    const made = {};
    live.add(made);
    return made;
  };
  const free = (thing: object): void => assert.ok(live.delete(thing), 'freed twice');
  return { live, make, parts: { side: 'client' as const, make, freeContext: free, freeSession: free } };
}

function generations(at: { nowMs: number; svid: typeof svid | undefined }, bundles = eastBundles()) {
  const { live, make, parts } = counted();
  const source = { current: () => at.svid, onChange: () => () => undefined };
  return { live, make, bundles, all: new Generations(source, bundles, { ...systemClock, monotonicMs: () => at.nowMs }, parts) };
}

test('the generation stays while nothing changes, and ends with the hour', () => {
  const at = { nowMs: 0, svid };
  const { all, live } = generations(at);
  const first = all.current();
  at.nowMs = GENERATION_MS - 1;
  assert.equal(all.current(), first);
  at.nowMs = GENERATION_MS;
  assert.notEqual(all.current(), first);
  assert.equal(live.size, 1);
  all.close();
  assert.equal(live.size, 0);
});

test('another SVID, and none', () => {
  const at: { nowMs: number; svid: typeof svid | undefined } = { nowMs: 0, svid };
  const { all } = generations(at);
  const first = all.current();
  at.svid = east.issue(WEB_ID);
  assert.notEqual(all.current(), first);
  at.svid = undefined;
  assert.throws(() => all.current(), { code: 'DATAPLANE_NO_IDENTITY' });
});

test('a change of trust frees every session at once, and what comes late to an ended generation too', () => {
  const { all, live, make, bundles } = generations({ nowMs: 0, svid }, openBundleSet([east.bundle]));
  const first = all.current();
  first.keep('a', { session: make(), chain: [] });
  assert.equal(live.size, 2);
  (bundles as ReturnType<typeof openBundleSet>).revoke(['ab'.repeat(32)]);
  assert.equal(live.size, 0);
  first.keep('b', { session: make(), chain: [] });
  assert.equal(live.size, 0);
  assert.equal(first.session('b'), undefined);
  assert.equal(all.current().session('a'), undefined);
});

test('sessions are bounded, the oldest goes first; a new one for the same server replaces the old', () => {
  const { live, make, parts } = counted();
  const generation = new Generation(svid, 0, parts);
  for (let i = 0; i < MAX_SESSIONS + 10; i++) generation.keep(`s${i}`, { session: make(), chain: [] });
  generation.keep('s500', { session: make(), chain: [] });
  assert.equal(live.size, MAX_SESSIONS + 1); // and the context
  assert.equal(generation.session('s9'), undefined);
  assert.ok(generation.session('s10') !== undefined);
  generation.drop('s500');
  generation.drop('s500');
  generation.end();
  generation.end();
  assert.equal(live.size, 0);
});

test('the chain behind a leaf is that of its own full handshake; an unknown leaf stands alone', () => {
  const { parts } = counted();
  const generation = new Generation(svid, 0, parts);
  const other = east.issue(PAYMENTS_ID);
  generation.remember(svid.chain);
  assert.deepEqual(generation.chainBehind(svid.chain.slice(0, 1)), svid.chain);
  assert.deepEqual(generation.chainBehind(other.chain.slice(0, 1)), other.chain.slice(0, 1));
  assert.deepEqual(generation.chainBehind([]), []);
});

test('a generation with too many callers is followed by another one', () => {
  const { all } = generations({ nowMs: 0, svid });
  const first = all.current();
  for (let i = 0; i < MAX_CALLERS; i++) first.remember([Buffer.from(String(i))]);
  assert.notEqual(all.current(), first);
});

test('the key tells apart whatever a session may depend on', () => {
  const to = { host: '10.0.0.1', port: 1, sni: 'a.example', expectedId: WEB_ID };
  const keys = [to, { ...to, host: '10.0.0.2' }, { ...to, port: 2 }, { ...to, sni: 'b.example' }, { ...to, expectedId: PAYMENTS_ID }, { ...to, alpn: ['h2'] }].map(sessionKey);
  assert.equal(new Set(keys).size, keys.length);
});
