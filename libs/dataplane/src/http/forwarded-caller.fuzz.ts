// Feeds arbitrary values to the reader of the caller that a layer-7 gateway names, alone and among other fields.
import type { Peer } from '../tls/judge.ts';
import { CALLER_HEADER, forwardedCaller, readForwardedCaller } from './forwarded-caller.ts';

type FuzzTarget = { readonly name: string; readonly seeds: readonly Buffer[]; run(input: Buffer): void };

const HASH = '0123456789abcdef'.repeat(4);
const gateway = { spiffeId: 'spiffe://east.acme.example/gateway', trustDomain: 'east.acme.example', leafSha256: HASH, expiresAtMs: 1, chain: [] } as unknown as Peer;
const seed = (text: string): Buffer => Buffer.from(text, 'latin1');

/** A value that is read is exactly what the gateway writes for that caller, with nothing in it that could end or divide a field; twice is none. */
export const target: FuzzTarget = {
  name: 'forwarded-caller',
  seeds: [
    seed(`spiffe://west.acme.example/ns/shop/svc/cart;hash=${HASH}`),
    seed(`spiffe://west.acme.example;hash=${HASH}`),
    seed(`spiffe://west.acme.example/ns/shop/svc/cart;hash=${HASH},spiffe://west.acme.example/ns/shop/svc/admin;hash=${HASH}`),
    seed(`spiffe://west.acme.example/ns/%61/svc/cart;URI=spiffe://x/y;hash=${HASH}`),
  ],
  run: (input) => {
    const value = input.toString('latin1');
    const peer = readForwardedCaller(['host', 'payments', CALLER_HEADER, value], gateway);
    if (peer === undefined) return;
    if (forwardedCaller(peer) !== value) throw new Error('what was read is not what a gateway writes');
    if (!/^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/[A-Za-z0-9._-]+)+$/.test(peer.spiffeId) || peer.spiffeId !== `spiffe://${peer.trustDomain}${peer.spiffeId.slice(9 + peer.trustDomain.length)}`) throw new Error(`no SPIFFE ID with a path: ${peer.spiffeId}`);
    if (peer.chain !== gateway.chain) throw new Error('the chain is not the gateway’s');
    if (readForwardedCaller([CALLER_HEADER, value, 'a', 'b', CALLER_HEADER, value], gateway) !== undefined) throw new Error('a field that stands twice was read');
  },
};
