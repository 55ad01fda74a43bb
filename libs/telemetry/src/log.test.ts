import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { Writable } from 'node:stream';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { openLog, silentLog } from './log.ts';
import { recordingLog } from './testing.ts';

const LOG_MODULE = fileURLToPath(new URL('./log.ts', import.meta.url));

function textLog(isTTY: boolean) {
  const chunks: string[] = [];
  const stream = Object.assign(new Writable({ write: (chunk: Buffer, _encoding, done) => { chunks.push(chunk.toString()); done(); } }), { isTTY });
  return { log: openLog({ program: 'agent', level: 'info', format: 'text', stream }), text: () => chunks.join('') };
}

test('a line has time, level, program, message and fields, and child logs add theirs', () => {
  const { log, lines } = recordingLog();
  log.with({ cluster: 'east' }).info('peer became stale', { ageMs: 15_000, revision: 7n, gone: undefined });
  const { time, ...rest } = lines[0] ?? {};
  assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(rest, { level: 'info', program: 'test', msg: 'peer became stale', cluster: 'east', ageMs: 15_000, revision: 7 });
});

test('no field can pass itself off as the message, the level or the program', () => {
  const { log, lines } = recordingLog();
  log.info('refused', { msg: 'all is well', level: 'debug', time: 'never' });
  assert.equal(lines[0]?.['msg'], 'refused');
  assert.equal(lines[0]?.['level'], 'info');
  assert.notEqual(lines[0]?.['time'], 'never');
});

test('whether a level is written can be asked before its fields are put together', () => {
  const { log } = textLog(false);
  assert.equal(log.isEnabled('info'), true);
  assert.equal(log.with({ a: 1 }).isEnabled('debug'), false);
  assert.equal(silentLog().isEnabled('error'), false);
});

test('a revision too large for a number is written as text, without loss', () => {
  const { log, lines } = recordingLog();
  log.info('at', { revision: 2n ** 63n });
  assert.equal(lines[0]?.['revision'], '9223372036854775808');
});

test('keys and tokens in fields and messages are blanked, in both formats', () => {
  const { log, lines } = recordingLog();
  const text = textLog(false);
  const pem = '-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----';
  for (const to of [log, text.log]) to.error('got ict1.c2VjcmV0', { error: `bad ${pem}`, token: 'ijt1.c2VjcmV0' });
  for (const shown of [JSON.stringify(lines), text.text()]) {
    assert.doesNotMatch(shown, /MIGHAgEA|c2VjcmV0/);
    assert.match(shown, /redacted token/);
  }
});

test('lines below the level are not written', () => {
  const { log, text } = textLog(false);
  log.debug('step');
  assert.equal(text(), '');
});

test('the same warning is written ten times, and on closing the log says how many were held back; info is never', async () => {
  const { log, lines } = recordingLog();
  for (let i = 0; i < 30; i++) {
    log.warn('store away', { code: 'STORE_UNAVAILABLE' });
    log.warn('store away', { code: i === 0 ? 'STORE_FULL' : 'STORE_UNAVAILABLE' });
    log.info('tick');
  }
  const of = (code: string) => lines.filter((l) => l['code'] === code).length;
  assert.equal(of('STORE_UNAVAILABLE'), 10);
  assert.equal(of('STORE_FULL'), 1);
  assert.equal(lines.filter((l) => l['msg'] === 'tick').length, 30);
  await log.close();
  const last = lines.at(-1);
  assert.equal(last?.['msg'], 'store away');
  assert.equal(last?.['heldBack'], 49);
});

test('text is one line for people, coloured on a terminal only', () => {
  const plain = textLog(false);
  plain.log.warn('peer became stale', { cluster: 'east', note: 'two\nlines' });
  assert.match(plain.text(), /^\S+Z warn  agent peer became stale cluster="east" note="two\\nlines"\n$/);
  const terminal = textLog(true);
  terminal.log.warn('x');
  assert.match(terminal.text(), /\u001b\[33mwarn/);
});

test('a silent log takes everything and says nothing', () => {
  silentLog().with({ a: 1 }).error('nothing', { b: 2 });
});

const PROGRAM = `
  import { openLog } from ${JSON.stringify(LOG_MODULE)};
  const log = openLog({ program: 'p', level: 'info', format: 'json' });
  for (let i = 0; i < 20_000; i++) log.info('line', { i, pad: 'x'.repeat(200) });
  setImmediate(async () => {
    process.stderr.write('alive\\n');
    await log.close();
    process.stderr.write('closed\\n');
    process.exit(0);
  });`;

test('a process whose standard output nobody reads goes on, and ends when told', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
  assert.equal(said.join(''), 'alive\nclosed\n');
  child.stdout.destroy();
});

test('a process whose log goes to a full disk goes on', { skip: existsSync('/dev/full') ? false : 'no /dev/full here' }, () => {
  const output = execFileSync('/bin/sh', ['-c', '"$0" --input-type=module -e "$1" 2>&1 >/dev/full', process.execPath, PROGRAM], { encoding: 'utf8' });
  assert.equal(output, 'alive\nclosed\n');
});
