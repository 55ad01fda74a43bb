// The rules as text, which nft itself must take; and which settings give no rules but an error.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { type CaptureSettings, type CaptureSurroundings, nameserversOf, planCapture } from './plan.ts';
import { captureRules, captureTable, isAnsweringIn, removalRules } from './rules.ts';

const AROUND: CaptureSurroundings = { addressRange: undefined, dnsPort: 5_353, inboundHost: '10.2.0.5', uid: 998, resolvConf: 'search example\nnameserver 10.0.0.1\nnameserver fd00::1\n', ownAddresses: ['127.0.0.1', '10.2.0.5', '::1'] };

const plan = (settings: CaptureSettings = {}, around: Partial<CaptureSurroundings> = {}) => planCapture(settings, { ...AROUND, ...around });
const refused = (says: RegExp, settings: CaptureSettings, around: Partial<CaptureSurroundings> = {}): void =>
  assert.throws(() => plan(settings, around), (error: unknown) => error instanceof IsthmusError && error.code === 'DATAPLANE_CAPTURE_INVALID' && says.test(String(error)), String(says));

/** What nft says of rules without putting them in force. */
function check(rules: string): string | undefined {
  const ran = spawnSync('nft', ['-c', '-f', '-'], { input: rules, encoding: 'utf8', env: { PATH: '/usr/sbin:/sbin:/usr/bin:/bin' } });
  return ran.error === undefined ? `${ran.stderr}` : undefined;
}
const skip = check(removalRules()) === '' ? false : 'nft is not installed, or may not be used';

const EVERY: readonly (readonly [string, ReturnType<typeof plan>])[] = [
  ['addresses alone', plan()],
  ['names too', plan({ dns: true })],
  ['an IPv4 nameserver only', plan({ dns: true, nameservers: ['10.0.0.1'] })],
  ['an IPv6 nameserver only', plan({ dns: true, nameservers: ['fd00::1'] })],
  ['a range outside the loopback network', plan({}, { addressRange: '240.64.0.0/16' })],
  ['inbound at one address', plan({ inbound: [{ port: 8_080, to: 20_000 }, { port: 9_090, to: 20_001 }] })],
  ['inbound at every address', plan({ inbound: [{ port: 8_080, to: 20_000 }] }, { inboundHost: '::' })],
];

for (const [name, each] of EVERY) {
  test(`nft takes the rules: ${name}`, { skip }, () => {
    assert.equal(check(captureRules(each)), '');
    assert.equal(check(captureRules(each, { isAnswering: true })), '');
  });
}

test('only the mesh’s addresses are redirected, never what the agent’s own user sends, and no table but ours is named', () => {
  for (const [name, each] of EVERY) {
    const rules = captureRules(each);
    assert.deepEqual([...new Set(rules.match(/^(delete )?table \S+ \S+/gm))], ['table inet isthmus', 'delete table inet isthmus'], name);
    const outbound = /chain outbound \{([^}]*|[^}]*\{ tcp, udp \}[^}]*)+?\n {2}\}/.exec(rules)?.[0] ?? '';
    const lines = outbound.split('\n').map((line) => line.trim());
    assert.equal(lines[2], 'meta skuid 998 return', name);
    for (const line of lines.slice(3)) if (line.includes('redirect')) assert.match(line, /^(meta l4proto tcp )?ip6? daddr (@nameservers[46]|\d+\.\d+\.0\.0\/16) /, name);
  }
});

test('queries are taken only while there are signs of life', () => {
  const table = captureTable(plan({ dns: true }));
  for (const line of table.split('\n').filter((l) => l.includes(':5353'))) assert.match(line, /@answering redirect/);
  assert.doesNotMatch(table, /elements = \{ 53 \}/);
  assert.match(captureTable(plan({ dns: true }), { isAnswering: true }), /elements = \{ 53 \}/);
  assert.equal(isAnsweringIn('\t\ttimeout 4s\n\t\telements = { 53 expires 3s944ms }'), true);
  assert.equal(isAnsweringIn('\t\telements = { domain timeout 4s expires 1s }'), true);
  assert.equal(isAnsweringIn('\t\ttimeout 4s\n\t}'), false);
});

test('what cannot be redirected never leaves the machine: a range outside the loopback network is guarded', () => {
  assert.match(captureTable(plan({}, { addressRange: '240.64.0.0/16' })), /ip daddr 240\.64\.0\.0\/16 reject/);
  assert.doesNotMatch(captureTable(plan()), /reject/);
});

test('an application behind an IPv4 listener does not stand open over IPv6', () => {
  assert.match(captureTable(plan({ inbound: [{ port: 8_080, to: 20_000 }] })), /nfproto ipv6 tcp dport \{ 8080 \} reject with tcp reset/);
});

test('settings that cannot be are refused in one sentence that names them', () => {
  refused(/user is root/, {}, { uid: 0 });
  refused(/holds 10\.2\.0\.5, an address of this machine/, {}, { addressRange: '10.2.0.0/16' });
  refused(/holds 127\.0\.0\.1/, {}, { addressRange: '127.0.0.0/8' });
  refused(/no IPv4 range/, {}, { addressRange: '10.0.0.0/31' });
  refused(/capture\.dns needs the agent to answer names/, { dns: true }, { dnsPort: undefined });
  refused(/names no nameserver/, { dns: true }, { resolvConf: 'search example\n' });
  refused(/ns\.example is no address/, { dns: true, nameservers: ['ns.example'] });
  refused(/is no address/, { dns: true, nameservers: ['fe80::1%lo};flush ruleset'] });
  refused(/127\.64\.0\.9 is within outbound\.addressRange/, { dns: true, nameservers: ['127.64.0.9'] });
  refused(/is the agent itself/, { dns: true, nameservers: ['127.0.0.1'] }, { dnsPort: 53 });
  refused(/inbound\.host/, { inbound: [{ port: 1, to: 2 }] }, { inboundHost: undefined });
  refused(/to itself/, { inbound: [{ port: 2, to: 2 }] });
  refused(/named twice/, { inbound: [{ port: 1, to: 2 }, { port: 1, to: 3 }] });
});

test('nameservers are those libc uses: the first three of resolv.conf, once each, and no zoned one', () => {
  assert.deepEqual(nameserversOf('# x\nnameserver 10.0.0.1\n nameserver 9.9.9.9\nnameserver\t10.0.0.2\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\nnameserver fd00::1 \nnameserver 10.0.0.4\n'), ['10.0.0.1', '10.0.0.2', 'fd00::1']);
});
