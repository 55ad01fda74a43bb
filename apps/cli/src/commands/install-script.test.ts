import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { installScript, readSums } from './install-script.ts';

const SUM = 'a'.repeat(64);
const line = (file: string): string => `${SUM}  ${file}`;
const PLAN = { agent: 'vm-1', cluster: 'east', token: 'ijt_x', version: '0.1.0', sums: new Map([['isthmus_0.1.0_amd64.deb', SUM]]), url: undefined, join: ['--server', '203.0.113.10:15443'], starts: true };

const sh = (script: string, ...flags: string[]) => spawnSync('sh', [...flags], { input: script, encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } });

test('what a release holds for an agent is read from its SHA256SUMS, for every processor', () => {
  const { version, sums } = readSums([line('x64/isthmus'), ...['amd64', 'arm64'].flatMap((arch) => [line(`isthmus_0.1.0_${arch}.deb`), line(`isthmus-agent_0.1.0_${arch}.deb`)]), line('isthmus-gateway_0.1.0_amd64.deb'), ''].join('\n'));
  assert.equal(version, '0.1.0');
  assert.deepEqual([...sums.keys()], ['isthmus_0.1.0_amd64.deb', 'isthmus-agent_0.1.0_amd64.deb', 'isthmus_0.1.0_arm64.deb', 'isthmus-agent_0.1.0_arm64.deb']);
});

test('a release without packages, with one of two, or of two versions is refused by name', () => {
  for (const [text, message] of [
    ['', /names no Debian packages/],
    [line('isthmus_0.1.0_amd64.deb'), /isthmus_0\.1\.0_amd64\.deb and not isthmus-agent_0\.1\.0_amd64\.deb/],
    [[line('isthmus_0.1.0_amd64.deb'), line('isthmus-agent_0.2.0_amd64.deb')].join('\n'), /several versions: 0\.1\.0, 0\.2\.0/],
    ['not a sum  isthmus_0.1.0_amd64.deb', /names no Debian packages/],
  ] as const) assert.throws(() => readSums(text), message);
});

test('the script is POSIX sh, with and without a URL', () => {
  for (const url of [undefined, 'https://downloads.example/isthmus']) {
    const { status, stderr } = sh(installScript({ ...PLAN, url }), '-n');
    assert.equal(status, 0, stderr);
  }
});

test('no value is ever read as a command', () => {
  const evil = `'; touch /tmp/isthmus-evil; echo '$(id)\`id\``;
  const script = installScript({ ...PLAN, token: evil, url: 'https://x.example', join: ['--server', evil, '--locality', evil] });
  assert.equal(sh(script, '-n').status, 0);
  // The last line runs `main`; here it says its words instead.
  const words = script.replace(/\nmain "\$@"\n$/, '\n').replace(/ {2}printf '%s\\n' ('.*) \| isthmus-agent join (.*)/, (_all, token: string, rest: string) => `}\nfor word in ${token} ${rest}; do printf '%s\\n' "$word"; done\nskipped() {`);
  assert.deepEqual(sh(words).stdout.trimEnd().split('\n'), [evil, '--token-file', '-', '--server', evil, '--locality', evil]);
});

test('a script that was cut off on its way does nothing', () => {
  const script = installScript(PLAN);
  for (const length of [script.length - 12, Math.floor(script.length / 2), 400]) assert.equal(sh(script.slice(0, length)).stdout, '');
});
