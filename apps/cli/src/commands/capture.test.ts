// Capture by command: what is wrong is said before anything is written, and what would be put in force can be read.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeToken } from '@isthmus/pki';
import { makeContext } from '../context.ts';
import { applyCapture, checkCapture, showCapture } from './capture.ts';
import { joinHost } from './host.ts';

const temporary = mkdtempSync(join(tmpdir(), 'isthmus-capture-'));
after(() => rmSync(temporary, { recursive: true, force: true }));
const directory = (): string => mkdtempSync(join(temporary, 'x'));

function configured(text: string): string {
  const file = join(directory(), 'agent.yaml');
  writeFileSync(file, text);
  return file;
}

/** A command's context, and what it printed. */
function recorded() {
  let text = '';
  const context = makeContext('proxy', { output: 'table', cluster: 'east', state: directory() });
  const stdout = { write: (chunk: string) => ((text += chunk), true), isTTY: false } as unknown as NodeJS.WriteStream;
  return { context: { ...context, stdout }, said: () => text };
}

test('`show` prints the rules of a configuration, whoever runs the agent, and says where there are none', async () => {
  const { context, said } = recorded();
  await showCapture(context, [], { config: configured('outbound: { all: true, addressRange: 127.99.0.0/16 }\ncapture: { user: "4711" }\n') });
  assert.match(said(), /^table inet isthmus \{[^]*meta skuid 4711 return[^]*127\.99\.0\.0\/16 redirect to :15001[^]*\n\}\n$/);
  const off = recorded();
  await showCapture(off.context, [], { config: configured('outbound: { all: true }\n') });
  assert.match(off.said(), /capture is off/);
});

test('a configuration that gives no rules is refused with its place, before nft is asked', async () => {
  for (const [text, code, says] of [
    ['capture: { dns: yes please }\n', 'CONFIG_INVALID', /agent\.yaml:1: capture\.dns/],
    ['outbound: { all: true }\ncapture: { prot: 1 }\n', 'CONFIG_INVALID', /agent\.yaml:2: capture\.prot: unknown key.*port/],
    ['capture: { user: "4711" }\n', 'CLI_CAPTURE', /needs outbound\.all: true/],
    ['outbound: { all: true, addressRange: 127.0.0.0/8 }\ncapture: { user: "4711" }\n', 'DATAPLANE_CAPTURE_INVALID', /holds 127\.0\.0\.1, an address of this machine/],
    ['outbound: { all: true }\ncapture: { user: "4711", dns: true }\n', 'DATAPLANE_CAPTURE_INVALID', /capture\.dns needs the agent to answer names/],
    ['outbound: { all: true }\ncapture: { user: nobody-of-this-name }\n', 'CLI_CAPTURE', /no user nobody-of-this-name/],
    ['outbound: { all: true }\ncapture: { user: root }\n', 'DATAPLANE_CAPTURE_INVALID', /capture\.user is root/],
  ] as const) {
    await assert.rejects(applyCapture(recorded().context, [], { config: configured(text), dryRun: true }), (error: Error & { code?: string }) => error.code === code && says.test(error.message), text);
  }
});

test('a host that cannot have the rules does not join, and nothing is written', { skip: readFileSync('/etc/passwd', 'utf8').includes('\nisthmus:') ? 'this machine has the packages’ user' : false }, async () => {
  const [configDir, stateDir] = [join(directory(), 'etc'), join(directory(), 'state')];
  const { token } = makeToken({ prefix: 'ijt', pinSha256: 'a'.repeat(64), fields: { agent: 'vm-1', cluster: 'east' } });
  const options = { server: '127.0.0.1:1', address: '127.0.0.1', token, configDir, stateDir, dnsPort: '5353', start: false };
  await assert.rejects(joinHost(recorded().context, [], { ...options, capture: true }), /there is no user isthmus/);
  assert.equal(existsSync(configDir), false);
  await joinHost(recorded().context, [], options);
  assert.doesNotMatch(readFileSync(join(configDir, 'agent.yaml'), 'utf8'), /^capture/m, 'off unless it is asked for');
});

test('what `join --capture` writes gives rules', async () => {
  await checkCapture({ outbound: { all: true }, dns: { host: '127.0.0.1', port: 5_353 }, capture: { dns: true, user: '4711', nameservers: ['10.0.0.1'] } }, false);
  await assert.rejects(checkCapture({ outbound: { all: true }, capture: { dns: 'yes' } }, false), /capture\.dns/);
});
