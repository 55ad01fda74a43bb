import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { IsthmusError, strict, Type } from '@isthmus/model';
import { loadConfig, readConfig } from './config.ts';

const schema = strict({
  cluster: Type.String({ description: 'name of this cluster' }),
  gateways: Type.Array(Type.String(), { default: [] }),
  listen: strict({ host: Type.String({ default: '127.0.0.1' }), port: Type.Integer({ minimum: 1, maximum: 65_535, default: 7_100, description: 'port for agents' }) }),
  store: strict({ kind: Type.Union([Type.Literal('embedded'), Type.Literal('etcd')], { default: 'embedded' }), isFsynced: Type.Boolean({ default: true }) }),
  log: Type.Optional(strict({ level: Type.String({ default: 'info' }), format: Type.String({ default: 'json' }) })),
  health: Type.Optional(strict({ port: Type.Integer() })),
  workloads: Type.Optional(Type.Array(strict({ name: Type.String(), weight: Type.Integer({ default: 100 }) }))),
});

const directory = mkdtempSync(join(tmpdir(), 'isthmus-config-'));
after(() => rmSync(directory, { recursive: true }));

function aFile(text: string): string {
  const file = join(directory, `${Math.random()}.yaml`);
  writeFileSync(file, text);
  return file;
}

function load(text: string, argv: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
  return loadConfig({ program: 'control-plane', schema, argv: ['--config', aFile(text), ...argv], env });
}

/** The message of the refusal, with the file's path taken out. */
function refusal(text: string, argv: readonly string[] = [], env: Readonly<Record<string, string>> = {}): string {
  const file = aFile(text);
  try {
    loadConfig({ program: 'control-plane', schema, argv: ['--config', file, ...argv], env });
  } catch (error) {
    assert.ok(error instanceof IsthmusError);
    assert.equal(error.code, 'CONFIG_INVALID');
    return error.message.replaceAll(file, 'FILE');
  }
  assert.fail('was taken');
}

test('defaults fill what is left out, also inside a mapping that is not there; an optional mapping stays out', () => {
  assert.deepEqual(load('cluster: east\n'), {
    cluster: 'east',
    gateways: [],
    listen: { host: '127.0.0.1', port: 7_100 },
    store: { kind: 'embedded', isFsynced: true },
  });
});

test('a flag goes before a variable, a variable before the file, the file before the default', () => {
  const file = 'cluster: east\nlisten: {port: 1, host: a}\nlog: {level: debug}\n';
  const env = { ISTHMUS_CONTROL_PLANE_LISTEN_PORT: '2', ISTHMUS_CONTROL_PLANE_LISTEN_HOST: 'b' };
  const config = load(file, ['--listen.port', '3'], env);
  assert.deepEqual(config.listen, { port: 3, host: 'b' });
  assert.deepEqual(config.log, { level: 'debug', format: 'json' });
});

test('text from flags and variables becomes what the key wants: numbers, booleans, lists', () => {
  const config = load('cluster: east\n', ['--gateways=a:1, b:2', '--store.isFsynced', 'false'], { ISTHMUS_CONTROL_PLANE_HEALTH_PORT: '9000' });
  assert.deepEqual(config.gateways, ['a:1', 'b:2']);
  assert.equal(config.store.isFsynced, false);
  assert.deepEqual(config.health, { port: 9_000 });
});

test('defaults are filled in within lists, and are never shared between two configurations', () => {
  const text = 'cluster: east\nworkloads: [{name: a}]\n';
  const [one, other] = [load(text), load(text)];
  assert.deepEqual(one.workloads, [{ name: 'a', weight: 100 }]);
  one.gateways.push('x:1');
  assert.deepEqual(other.gateways, []);
});

test('every problem is named at once, with file and line or the flag or variable it came by', () => {
  const text = 'lisen:\n  port: 1\nlisten:\n  prot: 7\n  port: 70000\nstore:\n  kind: consul\nworkloads:\n  - name: 1\n    wieght: 2\n';
  const message = refusal(text, ['--store.isFsynced', 'maybe', '--listen.hots=x', '--gateways'], { ISTHMUS_CONTROL_PLANE_HEALTH_PORT: 'x', ISTHMUS_CONTROL_PLANE_CLUSTR: 'east' });
  for (const expected of [
    'FILE:1: lisen: unknown key (did you mean listen?)',
    'FILE:4: listen.prot: unknown key (did you mean port?)',
    'FILE:5: listen.port: must be <= 65535',
    'FILE:7: store.kind: must be "embedded" or "etcd"',
    'FILE:9: workloads[0].name: must be string',
    'FILE:10: workloads[0].wieght: unknown key (did you mean weight?)',
    'cluster: is missing (string: name of this cluster)',
    '--store.isFsynced: must be boolean',
    '--listen.hots: unknown flag (did you mean listen.host?)',
    '--gateways: needs a value',
    'ISTHMUS_CONTROL_PLANE_HEALTH_PORT: must be integer',
    'ISTHMUS_CONTROL_PLANE_CLUSTR: unknown variable (did you mean ISTHMUS_CONTROL_PLANE_CLUSTER?)',
  ]) {
    assert.ok(message.includes(expected), `${expected}\nis not in\n${message}`);
  }
});

test('YAML that does not parse, two documents, and a list at the top are refused with their line', () => {
  assert.match(refusal('cluster: east\ncluster: west\n'), /FILE:2: .*unique/);
  assert.match(refusal('a: 1\n---\nb: 2\n'), /more than one document/);
  assert.match(refusal('- a\n'), /FILE:1: must be a mapping/);
});

test('an absent file has its own code, and an empty file is an empty configuration', () => {
  assert.throws(
    () => loadConfig({ program: 'p', schema, argv: ['--config', join(directory, 'absent.yaml')], env: {} }),
    (error) => error instanceof IsthmusError && error.code === 'CONFIG_NOT_FOUND',
  );
  assert.match(refusal(''), /cluster: is missing/);
  assert.equal(load('', ['--cluster', 'east']).cluster, 'east');
});

test('variables Kubernetes makes for a service of the same name are not taken for ours', () => {
  const env = { ISTHMUS_CONTROL_PLANE_PORT: 'tcp://10.0.0.1:7100', ISTHMUS_CONTROL_PLANE_SERVICE_HOST: '10.0.0.1', ISTHMUS_CONTROL_PLANE_PORT_7100_TCP_ADDR: '10.0.0.1' };
  assert.equal(load('cluster: east\n', [], env).cluster, 'east');
});

test('a key such as __proto__ is unknown like any other and changes nothing', () => {
  assert.match(refusal('cluster: east\n__proto__: {polluted: true}\n'), /__proto__: unknown key/);
  assert.equal(Reflect.get({}, 'polluted'), undefined);
});

test('--help lists every key with type, default and meaning, without needing a configuration', () => {
  const read = readConfig({ program: 'control-plane', schema, argv: ['--help'], env: {} });
  assert.equal(read.kind, 'answer');
  const text = read.kind === 'answer' ? read.text : '';
  assert.match(text, /cluster +string +name of this cluster \[required\]/);
  assert.match(text, /listen\.port +integer +port for agents \[default 7100\]/);
  assert.match(text, /store\.kind +embedded\|etcd +\[default "embedded"\]/);
  assert.match(text, /ISTHMUS_CONTROL_PLANE_LOG_LEVEL/);
});

test('--print-config shows what is in force, where each value comes from, and can be read back', () => {
  const file = aFile('cluster: east\n');
  const env = { ISTHMUS_CONTROL_PLANE_LOG_LEVEL: 'debug' };
  const read = readConfig({ program: 'control-plane', schema, argv: ['--config', file, '--print-config', '--gateways', 'a:1'], env });
  const text = read.kind === 'answer' ? read.text : '';
  assert.match(text, new RegExp(`^cluster: east # ${file}:1$`, 'm'));
  assert.match(text, /^  level: debug # ISTHMUS_CONTROL_PLANE_LOG_LEVEL$/m);
  assert.match(text, /^gateways: \[ a:1 \] # --gateways$/m);
  assert.match(text, /^  port: 7100 # default$/m);
  assert.deepEqual(load(text), load('cluster: east\n', ['--gateways', 'a:1'], env));
});

test('--print-config shows no token', () => {
  const argv = ['--cluster', 'ijt1.c2VjcmV0.QUJD', '--print-config'];
  const read = readConfig({ program: 'agent', schema, argv, env: {} });
  assert.match(read.kind === 'answer' ? read.text : '', /cluster: "?\[redacted token\]/);
});

test('a program with a wrong configuration says so on stderr, without a stack, and exits with 65; --help exits with 0', () => {
  const program = `
    import { loadConfig } from ${JSON.stringify(new URL('./config.ts', import.meta.url).href)};
    import { strict, Type } from ${JSON.stringify(import.meta.resolve('@isthmus/model'))};
    loadConfig({ program: 'p', schema: strict({ cluster: Type.String() }) });
    console.log('went on');`;
  const main = join(directory, 'main.mjs');
  writeFileSync(main, program);
  const run = (...argv: string[]) => spawnSync(process.execPath, [main, ...argv], { encoding: 'utf8' });
  const wrong = run('--cluter', 'east');
  assert.equal(wrong.status, 65);
  assert.match(wrong.stderr, /^p: the configuration is wrong:\n  --cluter: unknown flag \(did you mean cluster\?\)\n  cluster: is missing \(string\)\n  hint: /);
  assert.equal(wrong.stdout, '');
  assert.equal(run('--config', '/nowhere/at/all').status, 66);
  const help = run('--help');
  assert.equal(help.status, 0);
  assert.match(help.stdout, /^Usage: p --config FILE/);
});
