import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { findPredecessor } from './hand-over.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-hand-over-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** A program that answers with its process id, beside its predecessor; `body` goes before it listens, `loading` before anything. */
function startProgram(name: string, body = '', loading = '', slowMs = 2_500): { said(text: string): Promise<void>; text(): string; readonly pid: number; readonly ended: Promise<number | null>; hasFile(): boolean; pidInFile(): number } {
  const pidFile = join(directory, `${name}.pid`);
  const source = `
    import { runProcess } from ${JSON.stringify(new URL('./process.ts', import.meta.url).href)};
    import { openLog } from ${JSON.stringify(import.meta.resolve('@isthmus/telemetry'))};
    import { createServer } from 'node:http';
    import { existsSync } from 'node:fs';
    ${loading}
    const log = openLog({ program: 'p', level: 'info', format: 'json' });
    await runProcess({ program: 'p', log, handOver: { pidFile: ${JSON.stringify(pidFile)} }, start: async (own, signal, { sharesPort }) => {
      own({ name: 'held', stop: async (why) => console.log(process.pid + ' let go of what one may hold: ' + why) });
      ${body}
      const server = createServer((request, response) => (request.url === '/slow' ? (console.log('slow'), setTimeout(() => response.end('slow ' + process.pid), Number(process.env.SLOW_MS ?? 2_500))) : response.end(String(process.pid))));
      await new Promise((resolve) => server.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1', reusePort: true }, resolve));
      process.env.PORT = String(server.address().port);
      own({ name: 'server', carriesTraffic: true, stop: (why) => new Promise((resolve) => (server.close(resolve), server.closeIdleConnections(), console.log(process.pid + ' drains: ' + why))) });
      console.log(sharesPort + ' ' + process.pid + ' on ' + process.env.PORT);
    } });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SLOW_MS: String(slowMs) } });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  let text = '';
  const waiting = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += String(chunk);
      for (const look of waiting) look();
    });
  }
  after(() => {
    for (const [, pid] of text.matchAll(/(?:first|joins) (\d+)/g)) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  });
  const said = (wanted: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!text.includes(wanted)) return;
        waiting.delete(look);
        clearTimeout(limit);
        resolve();
      };
      const limit = setTimeout(() => reject(new Error(`it never said ${wanted}:\n${text}`)), 60_000);
      waiting.add(look);
      look();
    });
  return { said, ended, text: () => text, pid: child.pid ?? 0, hasFile: () => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n'), pidInFile: () => Number(readFileSync(pidFile, 'utf8')) };
}

function ask(port: number, path = '/'): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve(body));
    }).on('error', reject);
  });
}

/** Resolves with its port once it serves and has said so in its file. */
async function serving(program: ReturnType<typeof startProgram>): Promise<number> {
  await program.said('first ');
  while (!program.hasFile()) await new Promise((resolve) => setTimeout(resolve, 5));
  return Number(/first \d+ on (\d+)/.exec(program.text())?.[1]);
}

test('on SIGUSR2 a successor serves beside its predecessor, which lets go, answers what it has begun, and ends', async () => {
  const program = startProgram('good');
  const port = await serving(program);
  assert.equal(program.pidInFile(), program.pid);
  const slow = ask(port, '/slow');
  await program.said('slow');
  process.kill(program.pid, 'SIGUSR2');
  await program.said('joins ');
  const successor = Number(/joins (\d+)/.exec(program.text())?.[1]);
  assert.match(program.text(), new RegExp(`${program.pid} let go of what one may hold: handed-over[^]*joins ${successor}`), 'first it lets go, then the other begins');
  await program.said(`${program.pid} drains: handed-over`);
  assert.equal(program.pidInFile(), successor);
  assert.equal(await ask(port), String(successor), 'only the successor listens');
  assert.equal(await slow, `slow ${program.pid}`);
  process.kill(successor, 'SIGTERM');
  await program.said(`${successor} drains: ending`);
});

test('a successor that cannot be loaded changes nothing: its predecessor goes on serving', async () => {
  const flag = join(directory, 'broken');
  const program = startProgram('unloadable', '', `if (existsSync(${JSON.stringify(flag)})) process.exit(65);`);
  const port = await serving(program);
  writeFileSync(flag, '');
  process.kill(program.pid, 'SIGUSR2');
  await program.said('no hand-over, this process goes on');
  assert.match(program.text(), /PROCESS_HAND_OVER_FAILED|ended before it was loaded \(exit code 65\)/);
  assert.doesNotMatch(program.text(), /let go of/);
  assert.equal(await ask(port), String(program.pid));
  rmSync(flag);
  process.kill(program.pid, 'SIGUSR2');
  await program.said('joins ');
});

test('a successor that fails once its predecessor has let go ends both, with a failure that a supervisor acts on', async () => {
  const program = startProgram('late', `if (sharesPort === 'joins') throw new Error('a bad day');`);
  await serving(program);
  process.kill(program.pid, 'SIGUSR2');
  await program.said('the successor did not come up');
  await program.said(`${program.pid} drains: ending`);
  assert.equal(await program.ended, 69);
});

test('a predecessor that still answers ends when its successor is killed, so that a supervisor starts anew', async () => {
  const program = startProgram('widowed', '', '', 60_000);
  const port = await serving(program);
  const slow = ask(port, '/slow').catch(() => 'cut off');
  await program.said('slow');
  process.kill(program.pid, 'SIGUSR2');
  await program.said('joins ');
  await program.said(`${program.pid} drains: handed-over`);
  process.kill(Number(/joins (\d+)/.exec(program.text())?.[1]), 'SIGKILL');
  assert.equal(await program.ended, 69);
  assert.match(program.text(), /the successor ended.*SIGKILL/);
  await slow;
});

test('a successor may hand over itself: what its predecessor still answers is answered', async () => {
  const program = startProgram('twice', '', '', 8_000);
  const port = await serving(program);
  const slow = ask(port, '/slow');
  await program.said('slow');
  process.kill(program.pid, 'SIGUSR2');
  await program.said(`${program.pid} drains: handed-over`);
  const second = Number(/joins (\d+)/.exec(program.text())?.[1]);
  process.kill(second, 'SIGUSR2');
  await program.said(`${second} drains: handed-over`);
  assert.equal(await slow, `slow ${program.pid}`);
  assert.equal(await program.ended, 0);
});

test('a process that was started by anybody else takes over from nobody, whatever its environment says', (t) => {
  process.env['ISTHMUS_TAKES_OVER'] = '1';
  t.after(() => delete process.env['ISTHMUS_TAKES_OVER']);
  // The test runner may have opened a channel of its own to this process.
  if (process.send === undefined) assert.equal(findPredecessor(), undefined);
  else findPredecessor();
  assert.equal(process.env['ISTHMUS_TAKES_OVER'], undefined, 'programs started from here are no successors');
});
