// Fuzz target: a changed record or certificate chain is refused with a reason; nothing but what was signed comes out.
import { readFileSync } from 'node:fs';
import type { Bundle, SpiffeId } from '@isthmus/model';
import { verifyRecord } from './signed-record.ts';
import { verifySvid } from './verify.ts';

type Sample = { readonly nowMs: number; readonly bundle: Bundle; readonly record: { readonly payload: string; readonly signature: string; readonly chain: readonly string[] } };

const { nowMs, bundle, record } = JSON.parse(readFileSync(new URL('./testdata/signed-record.json', import.meta.url), 'utf8')) as Sample;
const expectedId = 'spiffe://east.acme.example/control-plane' as SpiffeId;
const chain = record.chain.map((der) => Buffer.from(der, 'base64'));
const payload = Buffer.from(record.payload, 'base64');

export const target = {
  name: 'signed-record',
  seeds: [Buffer.from(JSON.stringify(record)), Buffer.from(JSON.stringify({ ...record, chain: [] })), ...chain],
  dictionary: ['"payload"', '"signature"', '"chain"', '[]', '{}', 'null', '""', Buffer.from('0603551d11', 'hex'), 'spiffe://', Buffer.from([0x86, 1, 0])],
  run(input: Buffer): void {
    const verdict = verifyRecord(input, { bundle, expectedId, nowMs });
    if (verdict.ok && !payload.equals(verdict.payload)) throw new Error('a payload that nobody signed was taken');
    if (!verdict.ok && verdict.detail === '') throw new Error('refused without a reason');
    // The same bytes as the leaf of an honest intermediate.
    if (input[0] !== 0x30) return;
    const leaf = verifySvid({ chain: [Buffer.from(input), ...chain.slice(1)], bundle, nowMs });
    if (leaf.ok && !chain.some((der) => der.equals(input))) throw new Error(`a certificate that nobody signed was taken: ${leaf.spiffeId}`);
  },
};
