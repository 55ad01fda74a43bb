// Processes of the demo: ready when they say so, explained when they fail, gone when they should be, whoever dies first.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { executableOn, isReadyLine, killedWithParent, nodeProgram, type ProcessSpec } from './process.ts';
import { openSupervisor, waitFor } from './supervisor.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-process-'));
const supervisor = openSupervisor();
after(() => supervisor.close());

function program(name: string, source: string, readyLimitMs = 10_000): ProcessSpec {
  const file = join(directory, `${name}.ts`);
  writeFileSync(file, source);
  return { name, ...nodeProgram(file, []), logFile: join(directory, `${name}.log`), isReady: isReadyLine, readyLimitMs };
}

const READY = `process.stdout.write('{"level":"info","message":"ready"}\\n');`;

test('a process is ready when its line says so, and its output is in its log', async () => {
  const child = await supervisor.start(program('serves', `${READY} process.stdout.write('more\\n'); setInterval(() => {}, 1000);`));
  assert.equal(child.isRunning(), true);
  await waitFor('the log', 5_000, () => (readFileSync(join(directory, 'serves.log'), 'utf8').includes('more') ? true : undefined));
  await supervisor.stop('serves');
  assert.equal(child.isRunning(), false);
});

test('a process that ends before it is ready fails with the end of its log', async () => {
  await assert.rejects(
    supervisor.start(program('fails', `process.stderr.write('the disk is on fire\\n'); process.exitCode = 3;`)),
    (error: unknown) => error instanceof IsthmusError && error.code === 'CLI_PROCESS_FAILED' && /fails ended before it was ready \(exit code 3\)/.test(error.message) && error.message.includes('the disk is on fire'),
  );
});

test('what comes out of it after its exit is in the error too', async () => {
  const leavesAChild: ProcessSpec = { ...program('late', ''), command: 'sh', args: ['-c', '(sleep 0.2; echo the disk is on fire >&2) & exit 3'] };
  await assert.rejects(supervisor.start(leavesAChild), /exit code 3\); its log ends:\nthe disk is on fire/);
});

test('a process that never gets ready is ended', async () => {
  await assert.rejects(supervisor.start(program('hangs', `setInterval(() => {}, 1000);`, 500)), /not ready within 500 ms/);
  assert.equal(supervisor.get('hangs').isRunning(), false);
});

test('a process that ignores SIGTERM is killed after the limit', async () => {
  const child = await supervisor.start(program('stubborn', `process.on('SIGTERM', () => {}); ${READY} setInterval(() => {}, 1000);`));
  assert.deepEqual(await child.stop(300), { code: null, signal: 'SIGKILL' });
});

test('a killed process starts again under its name', async () => {
  const first = await supervisor.start(program('again', `${READY} setInterval(() => {}, 1000);`));
  await supervisor.kill('again');
  const second = await supervisor.restart('again');
  assert.notEqual(second.pid, first.pid);
  assert.equal(second.isRunning(), true);
});

test('an end nobody asked for is told, one asked for is not', async () => {
  const told: string[] = [];
  supervisor.onUnexpectedExit((name, how) => told.push(`${name}: ${how}`));
  await supervisor.start(program('asked', `${READY} setInterval(() => {}, 1000);`));
  await supervisor.start(program('crashes', `${READY} process.exitCode = 9;`));
  await supervisor.kill('asked');
  await waitFor('the report', 5_000, () => (told.length > 0 ? true : undefined));
  assert.deepEqual(told, ['crashes: exit code 9']);
});

for (const [what, source] of [
  ['children end by themselves', ''],
  ['children end too when their end in order never comes, and nothing else has its turn in them', `process.on('SIGTERM', () => { for (;;); });`],
  ['children end too when what they write goes nowhere', `process.on('SIGTERM', () => {}); setInterval(() => { process.stdout.write('x'); process.stderr.write('y'); }, 1); process.on('uncaughtException', () => process.stderr.write('z'));`],
] as const) {
  test(`${what}, when their parent is killed -9`, { timeout: 60_000 }, async () => {
    const { parent, pid } = await startByParent(program(`orphan-${what.length}`, `${source} ${READY} setInterval(() => {}, 1000);`));
    parent.kill('SIGKILL');
    await waitFor('the child to end', 20_000, () => (isAlive(pid) ? undefined : true));
  });
}

const setpriv = executableOn(process.env['PATH'] ?? '', 'setpriv');
test('a child that is stopped, so that nothing in it has its turn, ends too when its parent is killed -9', { timeout: 60_000, skip: setpriv === undefined ? 'no setpriv on PATH (util-linux)' : false }, async () => {
  const spec = program('stopped', `${READY} setInterval(() => {}, 1000);`);
  const { parent, pid } = await startByParent({ ...spec, ...killedWithParent(spec) });
  process.kill(pid, 'SIGSTOP');
  parent.kill('SIGKILL');
  try {
    await waitFor('the child to end', 20_000, () => (isAlive(pid) ? undefined : true));
  } finally {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
});

test('without setpriv, or where a program is chosen by the name it is called by, it is started as ever', () => {
  const start = { command: '/usr/bin/node', args: ['main.ts'] };
  assert.deepEqual(killedWithParent(start, directory), start);
  assert.deepEqual(killedWithParent({ ...start, argv0: 'isthmus-agent' }), { ...start, argv0: 'isthmus-agent' });
});

/** Starts it as a child of another process; resolves when it is ready. */
async function startByParent(spec: ProcessSpec): Promise<{ readonly parent: ChildProcess; readonly pid: number }> {
  const parentFile = join(directory, 'parent.ts');
  const url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
  writeFileSync(
    parentFile,
    `const { openSupervisor } = await import(${url('./supervisor.ts')});
     const { isReadyLine } = await import(${url('./process.ts')});
     const child = await openSupervisor().start({ ...${JSON.stringify(spec)}, isReady: isReadyLine });
     process.stdout.write(child.pid + '\\n');`,
  );
  const parent = spawn(process.execPath, [parentFile], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve) => createInterface({ input: parent.stdout }).once('line', resolve));
  assert.equal(isAlive(Number(line)), true);
  return { parent, pid: Number(line) };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
