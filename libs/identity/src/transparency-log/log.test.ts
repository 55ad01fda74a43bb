import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { appendFile, chmod, open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { TrustDomain } from '@isthmus/model';
import { generateKey, signRoot } from '@isthmus/pki';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { testDir } from '../testing.ts';
import { openTransparencyLog, type TransparencyLog, type TransparencyLogOptions } from './log.ts';
import { canonicalJson, chainRecord, EMPTY_HEAD, lineOf, parseLine } from './record.ts';
import { type LogVerdict, type LogExpectation, verifyLog } from './verify.ts';

const OWNER = 'acme.example' as TrustDomain;
const key = generateKey();
const root = signRoot({ key, federation: OWNER, nowMs: Date.now(), ttlMs: 3_600_000 });
let dir: Awaited<ReturnType<typeof testDir>>;
let made = 0;

before(async () => {
  dir = await testDir('log');
});
after(() => dir.remove());

const newPath = (): string => join(dir.path, `log-${made++}`);

function openAt(path: string, over: Partial<TransparencyLogOptions> = {}): Promise<TransparencyLog> {
  return openTransparencyLog({ path, owner: OWNER, sign: async (bytes) => ({ signature: sign('sha256', bytes, key), chain: [root] }), clock: systemClock, log: silentLog(), ...over });
}

/** A log of five records: three happenings, a checkpoint, one more. */
async function fiveRecords(): Promise<{ readonly path: string; readonly checkpoint: string }> {
  const path = newPath();
  const log = await openAt(path);
  await log.append([happening(1), happening(2)]);
  await log.append([happening(3)]);
  const { hash } = await log.checkpoint();
  await log.append([happening(5)]);
  await log.close();
  return { path, checkpoint: hash };
}

const happening = (n: number) => ({ kind: 'member-joined', facts: { cluster: `c${n}`, gateways: ['a:1', 'b:2'] } });

async function verdictOf(path: string, expected?: LogExpectation): Promise<LogVerdict> {
  const file = await open(path, 'r');
  return verifyLog(file, expected).finally(() => file.close());
}

async function changeLines(path: string, change: (lines: string[]) => string[]): Promise<void> {
  const lines = (await readFile(path, 'utf8')).split('\n').slice(0, -1);
  await writeFile(path, change(lines).map((line) => `${line}\n`).join(''));
}

const badAt = (verdict: LogVerdict): string => (verdict.ok ? 'ok' : `${verdict.line}: ${verdict.why}`);

test('what was appended is verified with its counts, its head and its checkpoint', async () => {
  const { path, checkpoint } = await fiveRecords();
  const verdict = await verdictOf(path, { checkpoint, roots: [root] });
  assert.ok(verdict.ok, badAt(verdict));
  assert.deepEqual(verdict.byKind, { checkpoint: 1, 'member-joined': 4 });
  assert.equal(verdict.head.records, 5);
  assert.equal(verdict.coveredRecords, 4);
  assert.equal(verdict.owner, OWNER);
  const log = await openAt(path);
  assert.deepEqual(log.head(), verdict.head);
  assert.deepEqual((await log.read(3, 10)).map((record) => record.kind), ['checkpoint', 'member-joined']);
  await log.close();
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('a fact that was changed, a record taken out, one moved and one put in are each found at their line', async () => {
  const spoil = async (change: (lines: string[]) => string[]): Promise<string> => {
    const { path } = await fiveRecords();
    await changeLines(path, change);
    await assert.rejects(openAt(path), { code: 'IDENTITY_LOG_BROKEN' }, 'and the program does not go on with it');
    return badAt(await verdictOf(path));
  };
  assert.match(await spoil((lines) => lines.map((line, i) => (i === 1 ? line.replace('c2', 'c9') : line))), /^2: its hash is not that/);
  assert.match(await spoil((lines) => lines.toSpliced(2, 1)), /^3: its index is 3, 2 was to come/);
  assert.match(await spoil(([a = '', b = '', ...rest]) => [b, a, ...rest]), /^1: its index is 1, 0/);
  assert.match(await spoil((lines) => lines.toSpliced(2, 0, lines[1] ?? '')), /^3: its index is 1, 2/);
  assert.match(await spoil((lines) => lines.map((line, i) => (i === 2 ? line.replace('{', '{ ') : line))), /^3: .*canonical/);
  assert.match(await spoil((lines) => lines.map((line, i) => (i === 2 ? 'x' : line))), /^3: .*no record/);
  assert.match(await spoil((lines) => lines.map((line, i) => (i === 3 ? 'y'.repeat(300_000) : line))), /^4: .*longer/);
});

test('a log whose later hashes were all made anew is found by its checkpoint: the signature, the hash noted down, or the root', async () => {
  const { path, checkpoint } = await fiveRecords();
  // Somebody who may write the file, and has no CA key, tells another story from the second record on.
  const rewrite = async (facts: (i: number, old: object) => object): Promise<void> => {
    let head = EMPTY_HEAD;
    await changeLines(path, (lines) =>
      lines.map((line, i) => {
        const old = parseLine(Buffer.from(line));
        assert.ok(old.ok);
        const record = chainRecord(head, old.value.atMs, { kind: old.value.kind, facts: facts(i, old.value.facts) as typeof old.value.facts });
        head = { records: record.index + 1, hash: record.hash };
        return lineOf(record).trimEnd();
      }),
    );
  };
  await rewrite((i, old) => (i === 1 ? { ...old, cluster: 'forged' } : old));
  assert.match(badAt(await verdictOf(path)), /^4: the checkpoint speaks of another place/);
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const otherRoot = signRoot({ key: other, federation: OWNER, nowMs: Date.now(), ttlMs: 3_600_000 });
  const forged = newPath();
  const log = await openAt(forged, { sign: async (bytes) => ({ signature: sign('sha256', bytes, other), chain: [otherRoot] }) });
  await log.append([happening(1), happening(7)]);
  await log.checkpoint();
  await log.close();
  assert.equal((await verdictOf(forged)).ok, true, 'a whole log of another root holds in itself');
  assert.match(badAt(await verdictOf(forged, { roots: [root] })), /not signed under the given root/);
  assert.match(badAt(await verdictOf(forged, { checkpoint })), /was cut off before it, or written anew/);
});

test('a checkpoint of another name, or with a signature that does not hold, is a bad line', async () => {
  const path = newPath();
  const log = await openAt(path, { owner: 'west.acme.example' });
  await log.checkpoint();
  await log.close();
  assert.match(badAt(await verdictOf(path)), /^1: the checkpoint’s signer is not the CA of west\.acme\.example/);
  const unsigned = newPath();
  const careless = await openAt(unsigned, { sign: async () => ({ signature: Buffer.alloc(70), chain: [root] }) });
  await careless.checkpoint();
  await careless.close();
  assert.match(badAt(await verdictOf(unsigned)), /^1: the checkpoint’s signature does not hold/);
});

test('records cut off the end are missed by the hash noted down, and only by it', async () => {
  const { path, checkpoint } = await fiveRecords();
  await changeLines(path, (lines) => lines.slice(0, 3));
  assert.equal((await verdictOf(path)).ok, true);
  assert.match(badAt(await verdictOf(path, { checkpoint })), /^3: no record has the hash/);
});

test('a line torn by kill -9 at any byte is cut off with a record that says so, and nothing before it is lost', async () => {
  const { path } = await fiveRecords();
  const whole = await readFile(path);
  const lastStart = whole.lastIndexOf(10, whole.length - 2) + 1;
  for (const size of [lastStart + 1, lastStart + 40, whole.length - 1]) {
    const torn = newPath();
    await writeFile(torn, whole.subarray(0, size), { mode: 0o600 });
    const seen = await verdictOf(torn);
    assert.ok(seen.ok && seen.hasTornEnd && seen.head.records === 4, badAt(seen));
    const log = await openAt(torn);
    const [record] = await log.read(4, 1);
    await log.close();
    assert.equal(record?.kind, 'torn-line-cut');
    assert.equal(record?.facts['bytes'], size - lastStart);
    const after = await verdictOf(torn);
    assert.ok(after.ok && !after.hasTornEnd && after.head.records === 5, badAt(after));
  }
});

test('a log that another program wrote to, or cut, while this one has it open is not written any more', async () => {
  const path = newPath();
  const log = await openAt(path);
  await log.append([happening(1), happening(2)]);
  const { size } = await stat(path);
  await appendFile(path, 'more\n');
  await assert.rejects(log.append([happening(3)]), { code: 'IDENTITY_LOG_UNWRITABLE' });
  assert.equal(log.isWritable(), false);
  await truncate(path, size - 10);
  await assert.rejects(log.append([happening(3)]), { code: 'IDENTITY_LOG_UNWRITABLE' });
  assert.equal((await stat(path)).size, size - 10, 'what is there is left as evidence');
  await log.close();
});

test('a log others may write is not opened', async () => {
  const { path } = await fiveRecords();
  await chmod(path, 0o666);
  await assert.rejects(openAt(path), { code: 'IDENTITY_LOG_UNWRITABLE' });
});

test('a checkpoint follows by itself after so many records', async () => {
  const path = newPath();
  const log = await openAt(path, { checkpointEvery: 10 });
  for (let n = 0; n < 25; n++) await log.append([happening(n)]);
  await log.close();
  const verdict = await verdictOf(path, { roots: [root] });
  assert.ok(verdict.ok && verdict.checkpoints === 2, badAt(verdict));
});

test('twenty thousand records are read in bounded memory, and appended to at their end', async () => {
  const path = newPath();
  const log = await openAt(path, { metrics: openMetrics() });
  for (let n = 0; n < 20; n++) await log.append(Array.from({ length: 1_000 }, (_, i) => happening(n * 1_000 + i)));
  await log.close();
  let seen = 0;
  const again = await openAt(path, { replay: () => (seen += 1) });
  assert.equal(seen, 20_020, 'a checkpoint follows each batch of 1,000');
  assert.equal((await again.append([happening(1)])).records, 20_021);
  await again.close();
});

const full = spawnSync('true').status === 0 && process.getuid?.() === 0;
test('on a full disk an append is refused whole, the log stays good, and it is written again when there is room', { skip: full ? false : 'a small tmpfs needs root' }, async (t) => {
  const small = await testDir('log-full');
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', small.path]).status !== 0) return t.skip('tmpfs cannot be mounted here');
  try {
    const path = join(small.path, 'log');
    const log = await openAt(path);
    await log.append([happening(1)]);
    const ballast = await open(join(small.path, 'ballast'), 'w');
    await assert.rejects(async () => {
      for (;;) await ballast.write(Buffer.alloc(4_096));
    });
    await ballast.close();
    const big = { kind: 'bundle', facts: { text: 'x'.repeat(8_000) } };
    await assert.rejects(log.append([big, happening(2)]), { code: 'IDENTITY_LOG_UNWRITABLE' });
    assert.equal(log.isWritable(), false);
    assert.equal(log.head().records, 1);
    await truncate(join(small.path, 'ballast'), 0);
    await log.append([big, happening(3)]);
    assert.equal(log.isWritable(), true);
    await log.close();
    const verdict = await verdictOf(path);
    assert.ok(verdict.ok && verdict.head.records === 3, badAt(verdict));
  } finally {
    execFileSync('umount', [small.path]);
    await small.remove();
  }
});

test('canonical JSON has one text for one value and refuses what has none', () => {
  assert.equal(canonicalJson({ b: [1, true, 'ü'], a: { '€': '"', '': 0 } }), '{"a":{"":0,"€":"\\""},"b":[1,true,"ü"]}');
  for (const value of [1.5, -0, Number.NaN, 2 ** 60, '\ud800', null, undefined]) assert.throws(() => canonicalJson(value as number), TypeError, String(value));
  let deep: { [name: string]: unknown } = {};
  for (let i = 0; i < 20; i++) deep = { deep };
  assert.throws(() => canonicalJson(deep as { x: string }), TypeError);
});
