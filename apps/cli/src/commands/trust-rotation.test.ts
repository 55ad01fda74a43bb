import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RotationDocument } from '@isthmus/identity';
import { describe, requestOf, whatBreaks, followLoggedIn } from './trust-rotation.ts';

const rotation: NonNullable<RotationDocument['rotation']> = {
  id: 'x1', startedAtMs: 0, step: 'prove', stepSinceMs: 0, paused: false, compromised: false, isRollback: false, without: ['east/agent/b'], cutOff: [], history: [],
  fromSha256: 'aa'.repeat(32), toSha256: 'bb'.repeat(32), waitingFor: [{ name: 'east/agent/a', cluster: 'east', why: 'was never heard' }], waitingCount: 1,
};
const document: RotationDocument = {
  federation: 'acme.example',
  roots: [{ sha256: 'aa'.repeat(32), state: 'signing' }, { sha256: 'bb'.repeat(32), state: 'trusted' }],
  rotation,
  clusters: [
    { cluster: 'east', isConnected: true, heardAtMs: 5, processes: 3, acknowledged: 2, onOldRoot: 3, unheard: 0 },
    { cluster: 'west', isConnected: false, heardAtMs: undefined, processes: 1, acknowledged: 0, onOldRoot: 0, unheard: 1 },
  ],
};

test('without options it begins, and follows what is under way; options act on it', () => {
  assert.deepEqual(requestOf({}, false), { action: 'begin', without: [] });
  assert.equal(requestOf({}, true), undefined);
  assert.deepEqual(requestOf({ without: ['east/agent/a'] }, true), { action: 'without', without: ['east/agent/a'] });
  assert.deepEqual(requestOf({ rollback: true }, true), { action: 'rollback' });
  assert.deepEqual(requestOf({ resume: true, holdBefore: 'retire' }, true), { action: 'resume', without: [], holdBefore: 'retire' });
  assert.throws(() => requestOf({ pause: true, rollback: true }, true), /exclude each other/);
});

test('it says who is waited for and why, who is not waited for, and how far each cluster is', () => {
  const text = describe(document, false).join('\n');
  assert.match(text, /rotation x1: prove\n {2}without east\/agent\/b\n {2}waits for east\/agent\/a: was never heard/);
  assert.match(text, /east +yes +3 +0 +2 of 3 +3/);
  const done = describe({ ...document, rotation: { ...rotation, step: 'done', stepSinceMs: 61_000, cutOff: ['west/control-plane'] } }, false).join('\n');
  assert.match(done, /done in 1m 1s\ncut off: west\/control-plane/);
});

test('what the removal of a compromised root breaks is said with the names of who is away', () => {
  assert.match(whatBreaks(document).join('\n'), /4 processes of 2 clusters[\s\S]*cut off for certain: west/);
});

test('over an admin API the rotation holds for the login twice, and goes on only where it is still its own hold', async () => {
  const context = { output: 'json', stdout: { write: () => true, isTTY: false }, stderr: { write: () => true } } as unknown as Parameters<typeof followLoggedIn>[0];
  const rotation = document.rotation;
  const at = (step: string, more: object = {}): typeof document => ({ ...document, rotation: { ...rotation, paused: false, isRollback: false, ...more, step } }) as typeof document;
  const walk = async (states: readonly (typeof document)[]): Promise<readonly string[]> => {
    const asked: string[] = [];
    const left = [...states];
    const end = await followLoggedIn(context, {
      rotation: async () => left[0] as typeof document,
      rotate: async ({ action, holdBefore }) => {
        asked.push(`${action} ${holdBefore ?? '-'}`);
        left.shift();
        return left[0] as typeof document;
      },
      renew: async () => void asked.push('renew'),
    });
    return [...asked, String(end.rotation?.step)];
  };
  const [first, second] = [at('switch', { holdBefore: 'switch' }), at('retire', { holdBefore: 'retire' })];
  assert.deepEqual(await walk([first, second, at('done')]), ['renew', 'resume retire', 'renew', 'resume -', 'done']);
  assert.deepEqual(await walk([first, at('reissue', { paused: true })]), ['renew', 'resume retire', 'reissue']);
  assert.deepEqual(await walk([at('done')]), ['done']);
  assert.deepEqual(await walk([at('switch', { holdBefore: 'switch', paused: true })]), ['switch']);
});
