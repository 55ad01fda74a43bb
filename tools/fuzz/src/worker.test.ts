import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { Job, WorkerMessage } from './job.ts';

async function messagesOf(run: string, part: Partial<Job>): Promise<{ readonly messages: readonly WorkerMessage[]; readonly lastInput: string }> {
  const root = mkdtempSync(join(tmpdir(), 'isthmus-fuzz-'));
  try {
    mkdirSync(join(root, 'libs/a/src'), { recursive: true });
    writeFileSync(join(root, 'libs/a/src/p.fuzz.ts'), `export const target = { name: 'p', seeds: [Buffer.from('seed')], run(input) { ${run} } };`);
    const shared = new SharedArrayBuffer(8 + 65_536);
    const job: Job = { root, file: 'libs/a/src/p.fuzz.ts', seed: 1, inputs: 1_000, phase: 'fuzz', found: [], input: Buffer.alloc(0), shared, ...part };
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: job });
    const messages: WorkerMessage[] = [];
    worker.on('message', (message: WorkerMessage) => messages.push(message));
    await new Promise((resolve, reject) => {
      worker.once('exit', resolve);
      worker.once('error', reject);
    });
    const [, length = 0] = new Int32Array(shared, 0, 2);
    return { messages, lastInput: Buffer.from(Buffer.from(shared, 8, length)).toString('latin1') };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

test('one input alone is run, and can be read from outside while it runs', async () => {
  const { messages, lastInput } = await messagesOf('', { phase: 'once', input: Buffer.from('this one') });
  assert.deepEqual(messages.map((m) => m.kind), ['ready', 'done']);
  assert.equal(lastInput, 'this one');
});

test('what the target throws comes out with its place', async () => {
  const { messages } = await messagesOf(`if (input.length < 4) throw new RangeError('too short');`, { phase: 'fuzz' });
  const last = messages.at(-1);
  assert.ok(last?.kind === 'finding' && last.reason === 'threw');
  assert.match(last.detail, /RangeError: too short\n +at .*p\.fuzz\.ts/);
  assert.deepEqual(Buffer.from(last.input ?? [1]), Buffer.alloc(0), 'made as short as it goes');
});

test('the scout hands on the inputs that reached something new', async () => {
  const { messages } = await messagesOf(`if (input[0] === 0x41) { globalThis.a = 1; } else if (input.length === 0) { globalThis.b = 1; }`, { phase: 'scout', inputs: 20_000 });
  const last = messages.at(-1);
  assert.ok(last?.kind === 'done');
  assert.deepEqual(last.found.map((input) => (input.length === 0 ? 'empty' : String.fromCharCode(input[0] ?? 0))).sort(), ['A', 'empty']);
});
