import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginRotation, COMPROMISED_LIMIT_MS, hurried, isSwitched, moved, nextTurn, type Participant, rolledBack, type Rotation, type RotationFacts, ROTATION_STEPS, waitingFor } from './root-rotation.ts';

const OLD = 'aa'.repeat(32);
const NEW = 'bb'.repeat(32);
const from = { root: 'b2xk', keyFile: 'root.key' };
const to = { root: 'bmV3', keyFile: 'root-x1.key' };
const HOUR_MS = 3_600_000;

const begun = (over: Partial<Rotation> = {}): Rotation => ({
  ...beginRotation({ id: 'x1', nowMs: 0, from, compromised: false, without: [] }),
  to,
  required: { 'east.acme.example': 2, 'acme.example': 2 },
  ...over,
});
const at = (step: Rotation['step'], over: Partial<Rotation> = {}): Rotation => moved(begun(over), step, 0);
const person = (name: string, over: Partial<Participant> = {}): Participant => ({
  name,
  cluster: name.split('/')[0] ?? '',
  kind: name.endsWith('control-plane') ? 'control-plane' : 'agent',
  isConnected: true,
  heardAtMs: 0,
  held: { 'east.acme.example': 2, 'acme.example': 2 },
  live: [{ rootSha256: NEW, expiresAtMs: HOUR_MS }],
  ...over,
});
const facts = (participants: readonly Participant[], over: Partial<RotationFacts> = {}): RotationFacts => ({
  participants,
  trustDomains: new Set(['east.acme.example', 'acme.example']),
  fromSha256: OLD,
  nowMs: 0,
  ...over,
});
const all = [person('east/control-plane'), person('east/agent/vm-1')];

test('when everybody follows, the steps come in their order and end', () => {
  let rotation = begun();
  const seen = [rotation.step];
  while (rotation.step !== 'done') {
    const turn = nextTurn(rotation, facts(all));
    assert.equal(turn.kind, 'do', rotation.step);
    if (turn.kind === 'do') rotation = moved(rotation, turn.next, 0);
    seen.push(rotation.step);
  }
  assert.deepEqual(seen, [...ROTATION_STEPS]);
  assert.deepEqual(nextTurn(rotation, facts(all)), { kind: 'idle' });
});

test('it does not switch before everybody acknowledged every bundle with the new root, and names who has not', () => {
  const late = person('east/agent/vm-1', { held: { 'east.acme.example': 1, 'acme.example': 2 } });
  const turn = nextTurn(at('prove'), facts([all[0] as Participant, late]));
  assert.ok(turn.kind === 'wait');
  assert.deepEqual(turn.waitingFor.map((w) => w.name), ['east/agent/vm-1']);
  assert.match(turn.waitingFor[0]?.why ?? '', /east\.acme\.example/);
});

test('silence is no acknowledgement: one never heard, and one that fell silent before it had the bundle, are waited for', () => {
  const never = person('east/agent/a', { heardAtMs: undefined, held: {}, live: [], isConnected: false });
  const silent = person('east/agent/b', { isConnected: false, heardAtMs: 5, held: {} });
  for (const step of ['prove', 'prove-unused'] as const) assert.equal(nextTurn(at(step), facts([never])).kind, 'wait', step);
  const [first] = waitingFor(at('prove'), facts([silent]));
  assert.match(first?.why ?? '', /silent since 1970-01-01T00:00:00.005Z/);
});

test('who acknowledged and then fell silent has it on disk, and is not waited for', () => {
  assert.equal(nextTurn(at('prove'), facts([person('east/agent/a', { isConnected: false })])).kind, 'do');
});

test('a trust domain that left is not asked after', () => {
  const p = person('east/control-plane', { held: { 'acme.example': 2 } });
  assert.equal(nextTurn(at('prove'), facts([p])).kind, 'wait');
  assert.equal(nextTurn(at('prove'), facts([p], { trustDomains: new Set(['acme.example']) })).kind, 'do');
});

test('it passes who is named and nobody else', () => {
  const late = ['a', 'b'].map((n) => person(`east/agent/${n}`, { held: {} }));
  const turn = nextTurn(at('prove', { without: ['east/agent/a'] }), facts(late));
  assert.ok(turn.kind === 'wait');
  assert.deepEqual(turn.waitingFor.map((w) => w.name), ['east/agent/b']);
  assert.equal(nextTurn(at('prove', { without: ['east/agent/a', 'east/agent/b'] }), facts(late)).kind, 'do');
});

test('control planes are issued anew first; then nobody may hold a live certificate of the old root', () => {
  const old = { live: [{ rootSha256: OLD, expiresAtMs: HOUR_MS }, { rootSha256: NEW, expiresAtMs: HOUR_MS }] };
  assert.equal(nextTurn(at('reissue'), facts([person('east/control-plane', old)])).kind, 'wait');
  const mixed = [person('east/control-plane'), person('east/agent/vm-1', old)];
  assert.equal(nextTurn(at('reissue'), facts(mixed)).kind, 'do');
  assert.equal(nextTurn(at('prove-unused'), facts(mixed)).kind, 'wait');
  // What has run out is not live, whether or not its holder was heard again.
  assert.equal(nextTurn(at('prove-unused'), facts(mixed, { nowMs: HOUR_MS })).kind, 'do');
});

test('paused, and before the step it is to hold at, nothing is done', () => {
  assert.equal(nextTurn(at('switch', { paused: true }), facts(all)).kind, 'wait');
  assert.equal(nextTurn(at('retire', { holdBefore: 'retire' }), facts(all)).kind, 'wait');
  assert.equal(nextTurn(at('retire'), facts(all)).kind, 'do');
});

test('a compromised root goes without waiting for acknowledgements, and after its limit without those who did not renew, who are listed', () => {
  const rotation = at('prove', { compromised: true });
  const late = [person('east/control-plane', { held: {}, live: [{ rootSha256: OLD, expiresAtMs: HOUR_MS }] })];
  assert.equal(nextTurn(rotation, facts(late)).kind, 'do');
  const reissuing = moved(rotation, 'reissue', 1_000);
  assert.equal(nextTurn(reissuing, facts(late, { nowMs: 1_000 + COMPROMISED_LIMIT_MS - 1 })).kind, 'wait');
  const turn = nextTurn(reissuing, facts(late, { nowMs: 1_000 + COMPROMISED_LIMIT_MS }));
  assert.ok(turn.kind === 'do');
  assert.deepEqual(turn.leftBehind, ['east/control-plane']);
});

test('who was proven is not cut off for being unheard at the end; who was excused by name and never followed is', () => {
  const unheard = ['a', 'b'].map((n) => person(`east/agent/${n}`, { heardAtMs: undefined, held: {}, live: [] }));
  const turn = nextTurn(at('retire', { without: ['east/agent/b'] }), facts(unheard));
  assert.ok(turn.kind === 'do');
  assert.deepEqual(turn.leftBehind, ['east/agent/b']);
});

test('rolled back before the switch, the new root is only taken out; after it, signing goes back and the new root retires', () => {
  for (const step of ['distribute', 'prove', 'switch'] as const) {
    const back = rolledBack(at(step), 9);
    assert.ok(back.ok);
    assert.deepEqual([back.rotation.step, back.rotation.from, back.rotation.to, back.rotation.isRollback], ['retire', to, from, true], step);
  }
  for (const step of ['reissue', 'prove-unused', 'retire'] as const) {
    const back = rolledBack(at(step), 9);
    assert.ok(back.ok && !isSwitched(back.rotation));
    assert.deepEqual([back.rotation.step, back.rotation.from], ['switch', to], step);
  }
});

test('a root found compromised while it is rotated goes at once, held or paused or not, and vouches for nothing', () => {
  const rotation = hurried(at('prove', { paused: true, holdBefore: 'prove', link: 'bGluaw==' }));
  assert.deepEqual([rotation.compromised, rotation.link], [true, undefined]);
  assert.equal(nextTurn(rotation, facts([person('east/control-plane', { held: {} })])).kind, 'do');
});

test('nothing is rolled back twice, when it is over, or to a compromised root', () => {
  assert.equal(rolledBack(at('prove', { isRollback: true }), 0).ok, false);
  assert.equal(rolledBack(at('done'), 0).ok, false);
  assert.equal(rolledBack(at('prove', { compromised: true }), 0).ok, false);
});
