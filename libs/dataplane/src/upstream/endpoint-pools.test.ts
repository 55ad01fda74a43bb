// When the pools of a service's endpoints are left: connections finish what they carry, and new ones are made.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fixedSvidSource, openBundleSet, type X509Svid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { EndpointPools } from './endpoint-pools.ts';

const east = testAuthority();
const next = testAuthority();
const svid = east.issue('spiffe://east.acme.example/agent/a');
const destination = { host: '127.0.0.1', port: 1, sni: 'a', expectedId: svid.spiffeId, trustDomain: east.trustDomain } as Parameters<EndpointPools['get']>[0];
const closers: (() => void)[] = [];
after(() => {
  for (const close of closers) close();
});

function open() {
  const bundles = openBundleSet([east.bundle]);
  const listeners = new Set<(svid: X509Svid) => void>();
  const svids = { ...fixedSvidSource(svid), onChange: (fn: (svid: X509Svid) => void) => (listeners.add(fn), () => void listeners.delete(fn)) };
  const pools = new EndpointPools({
    dial: () => Promise.reject(new Error('nobody is dialled here')),
    connections: 1, queue: 1, svids, bundles, clock: systemClock, keepAliveMs: 1_000, onDialFailed: () => undefined,
  });
  closers.push(() => pools.close());
  return { pools, bundles, renew: () => { for (const fn of listeners) fn(svid); } };
}

test('a new SVID, and a root that leaves a bundle, lead to new connections; a root that comes does not', () => {
  const { pools, bundles, renew } = open();
  const first = pools.get(destination, '1.1');
  bundles.update({ ...east.bundle, sequence: 2, x509Authorities: [...east.bundle.x509Authorities, ...next.bundle.x509Authorities] });
  assert.equal(pools.get(destination, '1.1'), first, 'both roots are trusted now');
  bundles.update({ ...east.bundle, sequence: 3, x509Authorities: next.bundle.x509Authorities });
  const second = pools.get(destination, '1.1');
  assert.notEqual(second, first, 'the older one is gone');
  renew();
  assert.notEqual(pools.get(destination, '1.1'), second);
});
