import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Member } from '@isthmus/model';
import type { trust } from '@isthmus/rpc';
import { toReport } from '../authority/trust-report.ts';
import { MembersTrust } from './members-trust.ts';

const east: Member = { cluster: 'east', trustDomain: 'east.acme.example', locality: '', gateways: [] };
const ROOT = 'ab'.repeat(32);
const facts = { held: { 'east.acme.example': 3, 'acme.example': 2 }, live: [{ rootSha256: ROOT, expiresAtMs: 9_000 }] };
const report = (): trust.TrustReport =>
  toReport(facts, [
    { kind: 'agent', name: 'a', isConnected: true, heardAtMs: 5, facts },
    { kind: 'gateway', name: 'g', isConnected: false, heardAtMs: 6, facts: { ...facts, held: { 'acme.example': 1 } } },
    { kind: 'agent', name: 'never', isConnected: false, heardAtMs: undefined, facts: undefined },
  ], 7);

test('what a control plane tells arrives as it was told, each set of bundles once', () => {
  const members = new MembersTrust();
  assert.equal(report().held.length, 2);
  members.take(east, report(), 8);
  members.stream(east.trustDomain, 1);
  const [own, agent, gateway, never] = members.participants([east]);
  assert.deepEqual([own?.name, own?.kind, own?.heardAtMs, own?.held, own?.live], ['east/control-plane', 'control-plane', 8, facts.held, facts.live]);
  assert.deepEqual([agent?.name, agent?.isConnected, agent?.heardAtMs], ['east/agent/a', true, 5]);
  assert.deepEqual([gateway?.name, gateway?.isConnected, gateway?.held], ['east/gateway/g', false, { 'acme.example': 1 }]);
  assert.deepEqual([never?.heardAtMs, never?.held], [undefined, {}]);
});

test('a member that never reported stands there by its control plane, never heard; one whose stream is gone has nobody connected', () => {
  const members = new MembersTrust();
  assert.deepEqual(members.participants([east]).map((p) => [p.name, p.heardAtMs]), [['east/control-plane', undefined]]);
  members.take(east, report(), 8);
  assert.ok(members.participants([east]).every((p) => !p.isConnected));
});

test('a report that does not hold together is refused, and the one before stays', () => {
  const members = new MembersTrust();
  members.take(east, report(), 8);
  const good = report();
  const [own] = good.participants;
  assert.ok(own);
  const bad: trust.TrustReport[] = [
    { ...good, participants: good.participants.slice(1) },
    { ...good, participants: [...good.participants, own] },
    { ...good, participants: [{ ...own, name: 'west/control-plane' }, own] },
    { ...good, participants: Array.from({ length: 20_001 }, (_, i) => ({ ...own, name: `agent/a${i}` })) },
  ];
  for (const one of bad) assert.throws(() => members.take(east, one, 9), { code: 'IDENTITY_REPORT_REFUSED' });
  assert.equal(members.participants([east]).length, 4);
});

test('a set of bundles that is not there is no acknowledgement', () => {
  const members = new MembersTrust();
  const good = report();
  members.take(east, { ...good, participants: good.participants.map((p) => ({ ...p, held: 99 })) }, 8);
  assert.ok(members.participants([east]).every((p) => Object.keys(p.held).length === 0));
});
