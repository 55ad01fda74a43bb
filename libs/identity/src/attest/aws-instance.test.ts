// AWS instances: a document of Amazon's form signed by a certificate that the cluster pins; each instance joins once.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { type Identity, joinOrResume } from '../proxy/join.ts';
import { FEDERATION, recordingLog, startTestCluster, startTestTrustRoot, type TestCluster, testDir, type TestTrustRoot } from '../testing.ts';

const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
})();
const skip = hasOpenssl ? false : 'no openssl on PATH';
const DOCUMENT = {
  accountId: '123456789012',
  architecture: 'x86_64',
  availabilityZone: 'eu-west-1a',
  billingProducts: null,
  imageId: 'ami-0abcdef1234567890',
  instanceId: 'i-0123456789abcdef0',
  instanceType: 't3.micro',
  pendingTime: new Date(Date.now() - 60_000).toISOString(),
  privateIp: '10.0.0.7',
  region: 'eu-west-1',
  version: '2017-09-30',
};
const audit = recordingLog();
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let east: TestCluster;

before(async () => {
  dir = await testDir('aws');
  if (!hasOpenssl) return;
  for (const name of ['amazon', 'mallory']) openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '30', '-subj', `/CN=${name}`);
  root = await startTestTrustRoot(join(dir.path, 'root'));
  const rules = [{ match: { accountId: '123456789012', region: { prefix: 'eu-' } }, agent: 'vm-{instanceId}', services: ['shop/payments'] }];
  const awsInstance = [{ name: 'prod', certificateFiles: [join(dir.path, 'amazon.pem')], maxSinceLaunchSeconds: 3_600, rules }];
  east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east'), attestation: { awsInstance }, log: audit.log });
}, { timeout: 60_000 });
after(async () => {
  if (hasOpenssl) {
    await east.close();
    await root.close();
  }
  await dir.remove();
});

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', [...args], { cwd: dir.path, stdio: 'pipe' });
}

async function signed(document: object, signer = 'amazon'): Promise<Buffer> {
  await writeFile(join(dir.path, 'document'), JSON.stringify(document, null, 2));
  openssl('cms', '-sign', '-in', 'document', '-binary', '-nodetach', '-stream', '-signer', `${signer}.pem`, '-inkey', `${signer}.key`, '-outform', 'DER', '-out', 'out.ber');
  return readFile(join(dir.path, 'out.ber'));
}

async function joinWith(pkcs7: Buffer, at = east): Promise<Identity> {
  return joinOrResume({
    stateDir: await mkdtemp(join(dir.path, 'proxy-')),
    server: { address: at.address },
    attestation: { cluster: 'east', federation: FEDERATION, rootSha256: [at.authority.rootSha256], source: { method: 'aws-instance', read: () => Promise.resolve(pkcs7) } },
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    joinTimeoutMs: 500,
  });
}
const refusedFor = (reason: RegExp) => (error: unknown) => {
  assert.ok(error instanceof IsthmusError, String(error));
  assert.equal(error.code, 'IDENTITY_ATTESTATION_REFUSED');
  assert.match(error.message, reason);
  return true;
};

test('an instance joins by its document, once; an operator can let it in again', { skip, timeout: 60_000 }, async () => {
  const pkcs7 = await signed(DOCUMENT);
  const proxy = await joinWith(pkcs7);
  assert.equal(proxy.agent, 'vm-i-0123456789abcdef0');
  await proxy.close();
  await assert.rejects(joinWith(pkcs7), (error: unknown) => refusedFor(/joined before/)(error) && /isthmus agent readmit vm-i-0123456789abcdef0/.test((error as IsthmusError).hint ?? ''));
  assert.match(audit.lines.at(-1) ?? '', /"reason":"known-instance".*"subject":"prod 123456789012\/eu-west-1\/i-0123456789abcdef0"/);
  assert.equal(await east.issuance.readmit('vm-i-0123456789abcdef0'), true);
  assert.equal(await east.issuance.readmit('vm-i-0123456789abcdef0'), false);
  await (await joinWith(pkcs7)).close();
  assert.equal(await east.issuance.deleteEntry('agent', 'vm-i-0123456789abcdef0'), true);
  await assert.rejects(joinWith(pkcs7), refusedFor(/removed by an operator/));
});

test('row 42: of six uses of one document at once, one is admitted', { skip, timeout: 60_000 }, async () => {
  const pkcs7 = await signed({ ...DOCUMENT, instanceId: 'i-0000000000000race'.replace('race', '4ace') });
  const attempts = await Promise.allSettled(Array.from({ length: 6 }, () => joinWith(pkcs7)));
  const admitted = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []));
  assert.equal(admitted.length, 1);
  await Promise.all(admitted.map((proxy) => proxy.close()));
});

const rows: readonly (readonly [string, object, RegExp])[] = [
  ['another account', { accountId: '999999999999' }, /no rule/],
  ['another region', { region: 'us-east-1' }, /no rule/],
  ['no instance id', { instanceId: 'x' }, /instanceId/],
  ['an instance launched yesterday', { pendingTime: new Date(Date.now() - 86_400_000).toISOString() }, /longer ago/],
  ['an instance from the future', { pendingTime: new Date(Date.now() + 3_600_000).toISOString() }, /future/],
  ['a launch that is no time', { pendingTime: 'soon' }, /no time/],
];
for (const [name, over, reason] of rows) {
  test(`refused: ${name}`, { skip, timeout: 60_000 }, async () => {
    await assert.rejects(joinWith(await signed({ ...DOCUMENT, instanceId: 'i-00000000000000001', ...over })), refusedFor(reason));
  });
}

test('refused: a document somebody else signed, one that was changed, one that is none', { skip, timeout: 60_000 }, async () => {
  await assert.rejects(joinWith(await signed({ ...DOCUMENT, instanceId: 'i-00000000000000002' }, 'mallory')), refusedFor(/no pinned certificate/));
  const changed = await signed({ ...DOCUMENT, instanceId: 'i-00000000000000003' });
  changed.write('9', changed.indexOf('i-00000000000000003') + 5);
  await assert.rejects(joinWith(changed), refusedFor(/not the one that was signed/));
  await assert.rejects(joinWith(Buffer.from('no document')), refusedFor(/no signed document/));
  await assert.rejects(joinWith(Buffer.alloc(40_000)), refusedFor(/larger than/));
});
