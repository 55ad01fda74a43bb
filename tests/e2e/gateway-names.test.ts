// Rows 49 and 53: nothing but an exported name gets through a gateway; everything else ends quickly and is counted.
import assert from 'node:assert/strict';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { after, before, test } from 'node:test';
import { askOverTls, findProgram, LEDGER, names, outboundOf, portNames, request, run, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

const SUFFIX = 'west.demo.isthmus.example';
const gatewayPort = (): number => mesh.federation.port(names.gateway('west'));

async function refusals(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${mesh.federation.port(portNames.health(names.gateway('west')))}/metrics`)).text();
  return text
    .split('\n')
    .filter((line) => /^isthmus_[a-z_]*refus[a-z_]*_total\b/.test(line))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

for (const [what, name] of [
  ['a service that is not exported', `http.vault.shop.svc.${SUFFIX}`],
  ['a service nobody declared', `http.nothing.shop.svc.${SUFFIX}`],
  ['a port the service does not have', `admin.ledger.shop.svc.${SUFFIX}`],
  ['another cluster’s service', 'http.payments.shop.svc.east.demo.isthmus.example'],
  ['a name of no form we know', 'www.example.com'],
  ['a reserved name of another cluster', 'control-plane.isthmus.east.demo.isthmus.example'],
  ['a trailing dot', `http.ledger.shop.svc.${SUFFIX}.`],
  ['a name of 255 characters', `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.svc.${'d'.repeat(60)}.example.abcde`],
  ['an underscore', `http.led_ger.shop.svc.${SUFFIX}`],
] as const) {
  test(`${what} is refused quickly, before any server speaks, and counted`, async () => {
    const before = await refusals();
    const outcome = await askOverTls({ port: gatewayPort(), serverName: name });
    assert.equal(outcome.kind, 'refused', outcome.detail);
    assert.doesNotMatch(outcome.detail, /server /);
    assert.ok(outcome.afterMs < 2_000, `after ${outcome.afterMs} ms`);
    await waitFor('the count to grow', 5_000, async () => ((await refusals()) > before ? true : undefined));
  });
}

test('an upper-case name is the same name (RFC 6066 §3)', async () => {
  const outcome = await askOverTls({ port: gatewayPort(), serverName: `HTTP.Ledger.shop.svc.${SUFFIX}` });
  assert.match(outcome.detail, /server spiffe:\/\/west\.demo\.isthmus\.example\/ns\/shop\/svc\/ledger/);
});

test('a ClientHello without SNI, plain HTTP, a PROXY header and noise are refused', async () => {
  for (const [what, attempt] of [
    ['no SNI', () => withoutSni()],
    ['plain HTTP', () => sendRaw('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['PROXY header', () => sendRaw('PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n')],
    ['noise', () => sendRaw(Buffer.alloc(600, 0xa5))],
  ] as const) {
    const before = await refusals();
    await attempt();
    await waitFor(`the count to grow for ${what}`, 5_000, async () => ((await refusals()) > before ? true : undefined));
  }
  assert.equal((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok, true, 'good traffic goes on');
});

test('openssl is refused for an unexported name and led to the workload for an exported one', { skip: findProgram('openssl') === undefined ? 'no openssl on PATH' : false }, async () => {
  const ask = (name: string) => run('openssl', ['s_client', '-connect', `127.0.0.1:${gatewayPort()}`, '-servername', name, '-showcerts'], { limitMs: 10_000 });
  const refused = await ask(`http.vault.shop.svc.${SUFFIX}`);
  assert.match(refused.stderr + refused.stdout, /unrecognized.name|no peer certificate available/i);
  const led = await ask(`http.ledger.shop.svc.${SUFFIX}`);
  assert.match(led.stdout, /BEGIN CERTIFICATE/);
});

/** Resolves when the other side has closed. */
function sendRaw(bytes: string | Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host: '127.0.0.1', port: gatewayPort() }, () => socket.write(bytes));
    socket.on('error', () => undefined);
    socket.on('data', () => undefined);
    socket.once('close', () => resolve());
  });
}

function withoutSni(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTls({ host: '127.0.0.1', port: gatewayPort(), rejectUnauthorized: false });
    socket.on('error', () => undefined);
    socket.once('secureConnect', () => assert.fail('a ClientHello without SNI was led somewhere'));
    socket.once('close', () => resolve());
  });
}
