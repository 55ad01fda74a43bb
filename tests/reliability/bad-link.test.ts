// Rows 78 and 80: a link that loses, repeats, reorders and spoils packets. What arrives is right, or does not arrive.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { connect, createServer, type Server } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LEDGER, outboundOf, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { whyNoHosts } from '../netns/network.ts';
import type { Quality } from './bad-link.ts';

const skip = whyNoHosts() ?? (existsSync('/dev/net/tun') ? false : 'no /dev/net/tun here');
const ID = process.pid % 200;
const SPACE = `isth${process.pid}-far`;
/** The bad link, and a good one back. */
const [NEAR, FAR, BACK_NEAR, BACK_FAR] = [`10.79.${ID}.1`, `10.79.${ID}.2`, `10.79.${ID}.5`, `10.79.${ID}.6`];
const PORT = 15_443;
const RELAY = `const net = require('node:net'); net.createServer({ allowHalfOpen: true }, (a) => { const b = net.connect({ host: '${BACK_NEAR}', port: ${PORT}, allowHalfOpen: true }); a.on('error', () => b.destroy()); b.on('error', () => a.destroy()); a.pipe(b); b.pipe(a); }).listen(${PORT}, '${FAR}', () => console.log('ready'));`;
const PERFECT: Quality = { lossPercent: 0, duplicatePercent: 0, jitterMs: 0, flipPercent: 0 };

type Done = { readonly passed: number; readonly lost: number; readonly repeated: number; readonly flipped: number };

let mesh: TestFederation;
let link: ChildProcess;
let answers: Interface;
let far: ChildProcess;
let back: Server;
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });

before(async () => {
  if (skip !== false) return;
  ip('netns', 'add', SPACE);
  ip('-n', SPACE, 'link', 'set', 'lo', 'up');
  ip('link', 'add', `isb${ID}c`, 'type', 'veth', 'peer', 'name', `isb${ID}d`, 'netns', SPACE);
  ip('addr', 'add', BACK_NEAR, 'peer', BACK_FAR, 'dev', `isb${ID}c`);
  ip('link', 'set', `isb${ID}c`, 'up');
  ip('-n', SPACE, 'addr', 'add', BACK_FAR, 'peer', BACK_NEAR, 'dev', `isb${ID}d`);
  ip('-n', SPACE, 'link', 'set', `isb${ID}d`, 'up');
  link = spawn(process.execPath, [fileURLToPath(new URL('./bad-link.ts', import.meta.url)), `isb${ID}a`, `isb${ID}b`, SPACE, NEAR, FAR], { stdio: ['pipe', 'pipe', 'inherit'] });
  answers = createInterface({ input: link.stdout! });
  await nextLine(answers);
  far = spawn('ip', ['netns', 'exec', SPACE, process.execPath, '-e', RELAY], { stdio: ['ignore', 'pipe', 'inherit'] });
  await nextLine(createInterface({ input: far.stdout! }));
  mesh = await startFederation({
    topology: smallTopology(['vm-1', 'east-1', 'west-2']),
    reachedBy: async (gatewayPort) => {
      back = createServer({ allowHalfOpen: true }, (socket) => {
        const onward = connect({ host: '127.0.0.1', port: gatewayPort('west'), allowHalfOpen: true });
        socket.on('error', () => onward.destroy());
        onward.on('error', () => socket.destroy());
        socket.pipe(onward).pipe(socket);
      });
      await new Promise<void>((resolve) => back.listen(PORT, BACK_NEAR, resolve));
      return { west: `${FAR}:${PORT}` };
    },
  });
}, { timeout: 90_000 });

after(async () => {
  if (skip !== false) return;
  await mesh?.close();
  link?.kill('SIGKILL');
  far?.kill('SIGKILL');
  back?.close();
  ip('netns', 'delete', SPACE);
});

function nextLine(lines: Interface): Promise<string> {
  return new Promise((resolve) => lines.once('line', resolve));
}

/** Changes the link; what it has done until now. */
async function setQuality(quality: Quality): Promise<Done> {
  const answer = nextLine(answers);
  link.stdin!.write(`${JSON.stringify(quality)}\n`);
  return JSON.parse(await answer) as Done;
}

/** Sends some random kilobytes to west's ledger, which says them back: right, wrong, or no answer. */
function echo(agent: Agent, limitMs: number): Promise<'right' | 'wrong' | 'none'> {
  const path = `/${randomBytes(3_000).toString('hex')}`;
  return new Promise((resolve) => {
    const request = get({ ...outboundOf(mesh.federation, 'vm-1', LEDGER), path, agent, signal: AbortSignal.timeout(limitMs) }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => resolve('none'));
      response.on('end', () => {
        if (response.statusCode !== 200) return resolve('none');
        resolve(pathIn(Buffer.concat(chunks).toString()) === path ? 'right' : 'wrong');
      });
    });
    request.on('error', () => resolve('none'));
  });
}

/** The path the application says it was asked for; undefined for an answer that is not its own. */
function pathIn(answer: string): string | undefined {
  try {
    return (JSON.parse(answer) as { path: string }).path;
  } catch {
    return undefined;
  }
}

async function echoes(count: number, limitMs: number): Promise<Readonly<Record<'right' | 'wrong' | 'none', number>>> {
  const seen = { right: 0, wrong: 0, none: 0 };
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  await Promise.all(Array.from({ length: count }, async () => void (seen[await echo(agent, limitMs)] += 1)));
  agent.destroy();
  return seen;
}

test('over a link that loses, repeats and reorders packets every byte arrives right', { skip, timeout: 150_000 }, async (t) => {
  const before = await setQuality({ lossPercent: 3, duplicatePercent: 3, jitterMs: 10, flipPercent: 0 });
  const seen = await echoes(120, 90_000);
  const after = await setQuality(PERFECT);
  t.diagnostic(JSON.stringify({ seen, lost: after.lost - before.lost, repeated: after.repeated - before.repeated, passed: after.passed - before.passed }));
  assert.ok(after.lost > before.lost && after.repeated > before.repeated, 'the link was bad');
  assert.deepEqual(seen, { right: 120, wrong: 0, none: 0 });
});

test('bits that flip behind a right checksum end connections and never reach an application', { skip, timeout: 150_000 }, async (t) => {
  // A flip in a record’s length leaves both ends waiting: only the callers’ own limits end those.
  const before = await setQuality({ ...PERFECT, flipPercent: 3 });
  const seen = await echoes(100, 15_000);
  const after = await setQuality(PERFECT);
  t.diagnostic(JSON.stringify({ seen, flipped: after.flipped - before.flipped }));
  assert.ok(after.flipped - before.flipped > 5, 'bits were flipped');
  assert.equal(seen.wrong, 0);
  await waitFor('right answers again', 40_000, async () => ((await echoes(10, 10_000)).right === 10 ? true : undefined));
});
