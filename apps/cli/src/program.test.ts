// The command line itself: every command has help, mistakes are usage errors, and what cannot be reached is said with a hint.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { ERROR_CLASSES } from '@isthmus/model';
import { makeProgram } from './program.ts';
import { parsePort } from './commands/service.ts';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
const empty = mkdtempSync(join(tmpdir(), 'isthmus-cli-'));

function isthmus(...args: string[]) {
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: empty });
}

function* commandsOf(command: Command): Generator<Command> {
  yield command;
  for (const child of command.commands) yield* commandsOf(child);
}

test('every command says what it is for', () => {
  for (const command of commandsOf(makeProgram())) {
    assert.notEqual(command.description(), '', command.name());
    assert.match(command.helpInformation(), /Usage: /);
    for (const option of command.options) assert.notEqual(option.description, '', `${command.name()} ${option.flags}`);
  }
});

test('help exits 0, an unknown command, option or choice exits 64', () => {
  assert.equal(isthmus('--help').status, 0);
  assert.equal(isthmus('service', 'list', '--help').status, 0);
  for (const args of [['frobnicate'], ['service', 'list', '--frob'], ['service', 'list', '-o', 'xml'], ['token', 'create', 'a', '--role', 'king'], ['service', 'apply', 'a/b']]) {
    assert.equal(isthmus(...args).status, 64, args.join(' '));
  }
});

test('every exit code there is stands in the page for operators, and no other', () => {
  const page = readFileSync(new URL('../../../docs/operating/admin-api.md', import.meta.url), 'utf8');
  const written = [...(page.split('| exit | meaning |')[1]?.split('\n\n')[0] ?? '').matchAll(/^\| (\d+) \|/gm)].map((row) => Number(row[1]));
  const used = new Set([0, 1, 64, ...Object.values(ERROR_CLASSES).map((c) => c.exit)]);
  assert.deepEqual(written, [...used].toSorted((a, b) => a - b));
});

test('without a demo or a socket the command says where it looked and what to do', () => {
  const { status, stderr } = isthmus('service', 'list');
  assert.equal(status, 69);
  assert.match(stderr, /error: no admin socket at \S+east-control-plane\.sock\nhint: .*npm start.*--socket/);
  assert.match(isthmus('cluster', 'list').stderr, /trust-root\.sock/);
  assert.match(isthmus('status', '--cluster', 'west').stderr, /west-control-plane\.sock/);
  assert.match(isthmus('agent', 'status', 'east-1').stderr, /east-1\.sock/);
  assert.match(isthmus('status', '--socket', '/nowhere/x.sock').stderr, /\/nowhere\/x\.sock/);
});

test('errors are JSON for programs', () => {
  const { stderr } = isthmus('status', '--output', 'json');
  assert.equal((JSON.parse(stderr) as { error: { code: string } }).error.code, 'CLI_SOCKET_ABSENT');
  assert.match(isthmus('get', 'services', '--output=json').stderr, /^{"error"/);
  assert.match(isthmus('get', 'service', 'shop/json').stderr, /^error: /, 'a name is no form of output');
});

test('bin/isthmus runs from wherever it is linked', () => {
  const link = join(empty, 'linked');
  symlinkSync(fileURLToPath(new URL('../bin/isthmus', import.meta.url)), link);
  const { status, stdout } = spawnSync(link, ['--help'], { encoding: 'utf8' });
  assert.equal(status, 0);
  assert.match(stdout, /Usage: isthmus/);
});

test('a port is name=port/protocol', () => {
  assert.deepEqual(parsePort('http=80/http'), { name: 'http', port: 80, protocol: 'http' });
  assert.deepEqual(parsePort('db=5432'), { name: 'db', port: 5432, protocol: 'tcp' });
  for (const bad of ['http', 'http=', '=80', 'http=80/udp', 'http:80']) assert.throws(() => parsePort(bad), { name: 'IsthmusError' }, bad);
});
