// Certificates of a CA outside the federation: what is taken as a client's, and each way a chain can be wrong.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { verifyClientChain } from './client-chain.ts';
import { generateKey } from './key.ts';
import { signPossession, verifyPossession } from './possession.ts';

const dir = mkdtempSync(join(tmpdir(), 'isthmus-client-chain-'));
const at = (name: string): string => join(dir, name);
const openssl = (...args: readonly string[]): string => execFileSync('openssl', [...args], { cwd: dir, stdio: 'pipe' }).toString();
const hasOpenssl = (() => {
  try {
    openssl('version');
    return true;
  } catch {
    return false;
  }
})();
const skip = hasOpenssl ? false : 'no openssl on PATH';
const cert = (name: string): X509Certificate => new X509Certificate(readFileSync(at(`${name}.pem`)));

/** A certificate made by openssl with these extensions; `issuer` undefined makes a root. */
function make(name: string, issuer: string | undefined, extensions: readonly string[], { days = '30', key = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'], subject = `/O=Acme/CN=${name}` } = {}): void {
  openssl('req', '-new', '-newkey', ...key, '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject);
  writeFileSync(at(`${name}.ext`), extensions.join('\n'));
  const signedBy = issuer === undefined ? ['-key', `${name}.key`] : ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`, '-CAcreateserial'];
  openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, '-days', days, '-extfile', `${name}.ext`, ...signedBy);
}

const CA = ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign'];
const CLIENT = ['basicConstraints=critical,CA:false', 'keyUsage=critical,digitalSignature', 'extendedKeyUsage=clientAuth'];

before(() => {
  if (!hasOpenssl) return;
  make('root', undefined, CA);
  make('other', undefined, CA);
  make('middle', 'root', ['basicConstraints=critical,CA:true,pathlen:0', 'keyUsage=critical,keyCertSign']);
  make('below', 'middle', CA);
  make('constrained', 'root', [...CA, 'nameConstraints=critical,permitted;DNS:acme.example']);
  make('nosign', 'root', ['basicConstraints=critical,CA:true', 'keyUsage=critical,cRLSign']);
  make('leaf', 'root', [...CLIENT, 'subjectAltName=DNS:vm-1.acme.example,URI:urn:acme:vm-1,email:a@acme.example']);
  make('deep', 'middle', CLIENT);
  make('inside', 'constrained', [...CLIENT, 'subjectAltName=DNS:vm-1.acme.example']);
  make('plain', 'root', ['basicConstraints=CA:false']);
}, { timeout: 60_000 });
after(() => rmSync(dir, { recursive: true, force: true }));

const judge = (names: readonly string[], nowMs = Date.now(), anchors = ['other', 'root']) => verifyClientChain({ chain: names.map((name) => cert(name).raw), anchors: anchors.map(cert), nowMs });

test('a client of the CA is taken, straight or through an intermediate, with its names', { skip }, () => {
  const verdict = judge(['leaf']);
  assert.ok(verdict.ok);
  assert.deepEqual({ ...verdict.names.subject }, { O: 'Acme', CN: 'leaf' });
  assert.deepEqual([verdict.names.dns, verdict.names.uri, verdict.names.email], [['vm-1.acme.example'], ['urn:acme:vm-1'], ['a@acme.example']]);
  for (const chain of [['leaf', 'root'], ['deep', 'middle'], ['deep', 'middle', 'root'], ['plain'], ['inside', 'constrained']]) assert.ok(judge(chain).ok, chain.join());
});

const rows: readonly (readonly [string, readonly string[], () => void, string])[] = [
  ['no chain at all', [], () => undefined, 'malformed'],
  ['another CA', ['stranger'], () => make('stranger', 'stranger-root', CLIENT), 'untrusted'],
  ['an intermediate that is missing', ['deep'], () => undefined, 'untrusted'],
  ['a leaf used as a CA', ['minion', 'leaf'], () => make('minion', 'leaf', CLIENT), 'untrusted'],
  ['a chain longer than its path length', ['deeper', 'below', 'middle'], () => make('deeper', 'below', CLIENT), 'untrusted'],
  ['a CA that may not sign', ['unsigned', 'nosign'], () => make('unsigned', 'nosign', CLIENT), 'untrusted'],
  ['a name its CA may not give', ['narrow', 'constrained'], () => make('narrow', 'constrained', [...CLIENT, 'subjectAltName=DNS:vm-1.other.example']), 'untrusted'],
  ['a CA for servers only', ['served', 'servers'], () => (make('servers', 'root', [...CA, 'extendedKeyUsage=serverAuth']), make('served', 'servers', CLIENT)), 'untrusted'],
  ['a chain of six', ['leaf', 'root', 'root', 'root', 'root', 'root'], () => undefined, 'malformed'],
  ['a CA as the leaf', ['middle'], () => undefined, 'untrusted'],
  ['a server’s certificate', ['server'], () => make('server', 'root', ['basicConstraints=CA:false', 'extendedKeyUsage=serverAuth']), 'untrusted'],
  ['a key for encryption only', ['encrypting'], () => make('encrypting', 'root', ['keyUsage=critical,keyEncipherment']), 'untrusted'],
  ['a weak key', ['weak'], () => make('weak', 'root', CLIENT, { key: ['rsa:1024'] }), 'untrusted'],
  ['a critical extension nobody knows', ['odd'], () => make('odd', 'root', [...CLIENT, '1.2.3.4.5=critical,ASN1:UTF8String:x']), 'malformed'],
];
for (const [name, chain, prepare, reason] of rows) {
  test(`refused: ${name}`, { skip }, () => {
    if (name === 'another CA') make('stranger-root', undefined, CA);
    prepare();
    const verdict = judge(chain);
    assert.equal(verdict.ok ? 'taken' : verdict.reason, reason);
  });
}

test('refused: before its time and after it, by more than the skew', { skip }, () => {
  const [from, to] = [Date.parse(cert('leaf').validFrom), Date.parse(cert('leaf').validTo)];
  const reason = (nowMs: number): string => {
    const verdict = judge(['leaf'], nowMs);
    return verdict.ok ? 'taken' : verdict.reason;
  };
  assert.deepEqual([reason(from - 61_000), reason(to + 61_000)], ['not-yet-valid', 'expired']);
  assert.equal(reason(to - 1_000), 'taken');
});

test('bytes that are no certificate are refused, not thrown', () => {
  for (const der of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(20_000), Buffer.alloc(1_000, 0x30)]) {
    const verdict = verifyClientChain({ chain: [der], anchors: [], nowMs: Date.now() });
    assert.equal(verdict.ok ? 'taken' : verdict.reason, 'malformed');
  }
});

test('a proof of possession holds for its own key, challenge, trust domain and signing request, and for nothing else', { skip }, () => {
  const bound = { trustDomain: 'east.acme.example', nonce: Buffer.alloc(32, 1), csrSha256: Buffer.alloc(32, 2) };
  const keys = [generateKey(), generateKey('ed25519'), generateKey('rsa-2048'), createPrivateKey(readFileSync(at('leaf.key')))];
  for (const key of keys) {
    const publicKey = new X509Certificate(readFileSync(at('leaf.pem'))).publicKey;
    const own = key === keys[3] ? publicKey : createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' }));
    const signature = signPossession(key, bound);
    assert.equal(verifyPossession(own, bound, signature), true, key.asymmetricKeyType ?? '');
    for (const other of [{ ...bound, trustDomain: 'west.acme.example' }, { ...bound, nonce: Buffer.alloc(32, 3) }, { ...bound, csrSha256: Buffer.alloc(32, 3) }]) {
      assert.equal(verifyPossession(own, other, signature), false);
    }
    assert.equal(verifyPossession(generateKey(key.asymmetricKeyType === 'ed25519' ? 'ed25519' : 'ec-p256'), bound, signature), false);
    assert.equal(verifyPossession(own, bound, Buffer.alloc(0)), false);
  }
});
