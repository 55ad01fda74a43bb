// `isthmus up`: a busy port is named before anything starts, every process ends with it however it ends, and a second run works.
import assert from 'node:assert/strict';
import { type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findProgram, isthmus, isthmusProcess, reservePorts, waitFor } from '@isthmus/harness';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-up-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const { from, to } = await reservePorts();
const ports = ['--ports', `${from}-${to}`];
const state = join(directory, 'demo');

test('a busy port is a clear error that names it, and nothing is started', async () => {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(from + 3, '127.0.0.1', resolve));
  const finished = await isthmus(['up', '--state', join(directory, 'busy'), ...ports]);
  await new Promise((resolve) => holder.close(resolve));
  assert.equal(finished.code, 73, finished.stderr);
  assert.match(finished.stderr, new RegExp(`error: port ${from + 3} is taken by another program; the demo wants it for \\S+`));
  assert.match(finished.stderr, /code: CLI_PORT_BUSY/);
  assert.deepEqual(processesOf(join(directory, 'busy')), []);
});

test('without the etcd binary --store etcd says how to install it', async () => {
  const finished = await isthmus(['up', '--store', 'etcd', '--state', join(directory, 'none'), ...ports], { env: { PATH: directory } });
  assert.equal(finished.code, 69);
  assert.match(finished.stderr, /no etcd binary on PATH[^]*apt-get install etcd-server/);
});

test('a tour that this machine has not the tools for is skipped with the reason, nothing started, and is no success', async () => {
  const finished = await isthmus(['up', '--check', '--tour', 'vm', '--state', join(directory, 'none'), ...ports], { env: { PATH: directory } });
  assert.match(finished.stdout, /^skipped the tour vm: (mmdebstrap.* not installed|needs root)/, finished.stderr);
  assert.equal(finished.code, 69);
  assert.deepEqual(processesOf(join(directory, 'none')), []);
});

test('a range that is too small and a tour that does not exist are refused', async () => {
  assert.match((await isthmus(['up', '--ports', '21000-21003', '--state', state])).stderr, /needs \d+ ports/);
  assert.match((await isthmus(['up', '--check', '--tour', 'nowhere', '--state', state, ...ports])).stderr, /no tour "nowhere"[^]*tours: main/);
});

test('the demo shows requests, obeys `isthmus demo`, and Ctrl-C ends every process', { timeout: 90_000 }, async () => {
  const demo = await startUp();
  await shows(demo, /east +payments-\d +[\d.]+ ms/);
  assert.ok(processesOf(state).length >= 10, 'the demo’s processes run');
  const second = await isthmus(['up', '--state', state, ...ports]);
  assert.match(second.stderr, /CLI_DEMO_RUNNING/);

  const endpoints = await isthmus(['service', 'endpoints', 'payments', '--state', state, '-o', 'json']);
  const rows = JSON.parse(endpoints.stdout) as { cluster: string; instance?: string }[];
  assert.deepEqual(rows.map((r) => `${r.cluster} ${r.instance ?? 'gateway'}`).toSorted(), ['east payments-1', 'east payments-2', 'west gateway']);
  const svid = await isthmus(['certificate', 'show', '--state', state]);
  assert.match(svid.stdout, /spiffe:\/\/east\.demo\.isthmus\.example\/agent\/vm-1/, svid.stderr);

  assert.match((await isthmus(['demo', 'stop', 'east', '--state', state])).stdout, /stopped east-payments-1, east-payments-2/);
  await shows(demo, /west +payments-\d +[\d.]+ ms/);
  assert.equal((await isthmus(['demo', 'start', 'east', '--state', state])).code, 0);
  await shows(demo, /east +payments-\d +[\d.]+ ms/);
  assert.doesNotMatch(demo.text(), /FAILED/);

  demo.child.kill('SIGINT');
  assert.equal(await demo.ended, 0);
  assert.deepEqual(processesOf(state), []);
});

test('a second run resumes what the first left, and leaves nothing when it is killed -9', { timeout: 90_000 }, async () => {
  const demo = await startUp();
  await shows(demo, /east +payments-\d +[\d.]+ ms/);
  demo.child.kill('SIGKILL');
  await demo.ended;
  await allGone();
});

test('real etcd ends with the demo too, also when that is killed -9', { timeout: 90_000, skip: findProgram('etcd') === undefined ? 'no etcd binary on PATH (apt-get install etcd-server)' : false }, async () => {
  const demo = await startUp(['--fresh', '--store', 'etcd']);
  assert.equal(processesOf(state).filter((command) => command.includes('--data-dir')).length >= 2, true);
  demo.child.kill('SIGKILL');
  await demo.ended;
  await allGone();
});

/** Waits until no process of the demo is left; names those that are. */
async function allGone(): Promise<void> {
  await waitFor('every process to notice that the demo is gone', 30_000, () => {
    const left = processesOf(state);
    if (left.length === 0) return true;
    throw new Error(left.join('; '));
  }, 100);
}

type Demo = { readonly child: ChildProcess; readonly ended: Promise<number | null>; text(): string; seen: number };

async function startUp(flags: readonly string[] = []): Promise<Demo> {
  const child = isthmusProcess(['up', '--state', state, ...ports, ...flags]);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  after(() => child.kill('SIGTERM'));
  const demo = { child, ended, text: () => text, seen: 0 };
  await Promise.race([shows(demo, /first answer across clusters after [\d.]+ s/, 40_000), ended.then((code) => assert.fail(`up ended with ${code}:\n${text}`))]);
  return demo;
}

/** Waits until the demo has printed such a line since the last call. */
async function shows(demo: Demo, what: RegExp, limitMs = 15_000): Promise<void> {
  const end = await waitFor(`the demo to show ${what}`, limitMs, () => {
    const found = what.exec(demo.text().slice(demo.seen));
    return found === null ? undefined : demo.seen + found.index + found[0].length;
  });
  demo.seen = end;
}

/** Command lines of living processes that name this directory, but for the tests' own. */
function processesOf(stateDir: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    })
    .filter((command) => command.includes(stateDir) && !command.includes('main.ts up'));
}
