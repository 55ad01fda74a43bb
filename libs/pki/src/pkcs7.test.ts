// Signed documents as openssl and Amazon write them: taken from a pinned certificate, refused in every other form.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { verifyPkcs7 } from './pkcs7.ts';

const dir = mkdtempSync(join(tmpdir(), 'isthmus-pkcs7-'));
const at = (name: string): string => join(dir, name);
const openssl = (...args: readonly string[]): void => void execFileSync('openssl', [...args], { cwd: dir, stdio: 'pipe' });
const hasOpenssl = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
})();
const skip = hasOpenssl ? false : 'no openssl on PATH';
const CONTENT = '{"instanceId":"i-0123456789abcdef0"}';
let pinned: readonly X509Certificate[] = [];

before(() => {
  if (!hasOpenssl) return;
  writeFileSync(at('content'), CONTENT);
  for (const name of ['pinned', 'other']) openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '30', '-subj', `/CN=${name}`);
  pinned = [new X509Certificate(readFileSync(at('other.pem'))), new X509Certificate(readFileSync(at('pinned.pem')))];
});
after(() => rmSync(dir, { recursive: true, force: true }));

function sign(...over: readonly string[]): Buffer {
  openssl('cms', '-sign', '-in', 'content', '-binary', '-signer', 'pinned.pem', '-inkey', 'pinned.key', '-outform', 'DER', '-out', 'out.der', ...over);
  return readFileSync(at('out.der'));
}
const judge = (document: Buffer, certificates = pinned.slice(1), nowMs = Date.now()) => verifyPkcs7({ document, pinned: certificates, nowMs });
const reasonFor = (document: Buffer, certificates?: readonly X509Certificate[], nowMs?: number): string => {
  const verdict = judge(document, certificates === undefined ? undefined : [...certificates], nowMs);
  return verdict.ok ? 'taken' : verdict.reason;
};

test('a document is taken in DER and in BER, with attributes and without, with its certificate inside and without', { skip }, () => {
  for (const form of [['-nodetach'], ['-nodetach', '-stream'], ['-nodetach', '-noattr'], ['-nodetach', '-nocerts'], ['-nodetach', '-md', 'sha512']]) {
    const document = sign(...form);
    const verdict = judge(document);
    assert.ok(verdict.ok, form.join(' '));
    assert.equal(verdict.content.toString(), CONTENT);
    assert.equal(verdict.signer.subject, 'CN=pinned');
  }
  assert.equal(sign('-nodetach', '-stream')[1], 0x80, 'what -stream makes is BER of indefinite length, as Amazon’s is');
});

test('refused: another signer, although its certificate is inside', { skip }, () => {
  assert.equal(reasonFor(sign('-nodetach', '-signer', 'other.pem', '-inkey', 'other.key').subarray(0)), 'malformed', 'two signers');
  openssl('cms', '-sign', '-in', 'content', '-binary', '-nodetach', '-signer', 'other.pem', '-inkey', 'other.key', '-outform', 'DER', '-out', 'other.der');
  assert.equal(reasonFor(readFileSync(at('other.der'))), 'bad-signature');
});

test('refused: each changed byte of the content or of the signature', { skip }, () => {
  for (const form of [['-nodetach'], ['-nodetach', '-noattr']]) {
    const document = sign(...form);
    const content = document.indexOf(CONTENT);
    for (const place of [content, content + CONTENT.length - 2, document.length - 1, document.length - 100]) {
      const changed = Buffer.from(document);
      changed[place] = (changed[place] ?? 0) ^ 1;
      assert.equal(reasonFor(changed), 'bad-signature', `byte ${place}`);
    }
  }
});

test('refused: SHA-1, a signature without its content, an EC signer, a pinned certificate that is over, no pinned one', { skip }, () => {
  assert.equal(reasonFor(sign('-nodetach', '-md', 'sha1')), 'malformed');
  assert.equal(reasonFor(sign()), 'malformed');
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'ec.key', '-out', 'ec.pem', '-subj', '/CN=ec');
  openssl('cms', '-sign', '-in', 'content', '-binary', '-nodetach', '-signer', 'ec.pem', '-inkey', 'ec.key', '-outform', 'DER', '-out', 'ec.der');
  assert.equal(reasonFor(readFileSync(at('ec.der')), [new X509Certificate(readFileSync(at('ec.pem')))]), 'malformed');
  assert.equal(reasonFor(sign('-nodetach'), undefined, Date.now() + 40 * 86_400_000), 'expired');
  assert.equal(reasonFor(sign('-nodetach'), []), 'bad-signature');
});

test('garbage, deep nesting and too many bytes are refused, not thrown', () => {
  for (const garbage of [Buffer.alloc(0), Buffer.from('hello'), Buffer.alloc(33 * 1024, 0x30), Buffer.alloc(20_000, Buffer.from([0x30, 0x80])), Buffer.from('3080060a', 'hex')]) {
    assert.equal(reasonFor(garbage, []), 'malformed');
  }
});
