// Fuzz target: names that are taken say exactly what was written, and write back to the same text.
import { formatDuration, parseDuration } from './duration.ts';
import { formatLocality, parseLocality } from './locality.ts';
import { formatServiceName, parseClusterName, parseServiceName } from './name.ts';
import { parseSni, reservedSni, serviceSni } from './sni.ts';
import { parseSpiffeId, parseTrustDomain, pathOf, roleOf, spiffeIds, type TrustDomain, trustDomainOf } from './spiffe-id.ts';

const seeds = [
  'http.payments.shop.svc.east.acme.example',
  'control-plane.isthmus.east.acme.example',
  'spiffe://east.acme.example/ns/shop/svc/payments',
  'spiffe://east.acme.example/agent/vm-1',
  'spiffe://east.acme.example',
  'shop/payments',
  'east.acme.example',
  '250ms',
  'eu/de/a',
];

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

function checkSni(text: string): void {
  const sni = parseSni(text);
  if (sni === undefined) return;
  const trustDomain = sni.trustDomain as TrustDomain;
  const again = sni.kind === 'reserved' ? reservedSni(sni.name, trustDomain) : serviceSni(sni.service, sni.port, trustDomain, sni.layer);
  check(again === text.toLowerCase(), `SNI ${JSON.stringify(text)} writes back as ${again}`);
  check(text.length <= 255 && !text.endsWith('.'), `SNI ${JSON.stringify(text)} was taken`);
}

function checkSpiffeId(text: string): void {
  const id = parseSpiffeId(text);
  if (!id.ok) return;
  const trustDomain = trustDomainOf(id.value);
  check(parseTrustDomain(trustDomain).ok, `${JSON.stringify(text)} has the trust domain ${trustDomain}`);
  check(`spiffe://${trustDomain}${pathOf(id.value)}` === text, `${JSON.stringify(text)} is not its domain and path`);
  check(!/[%?#@: ]|\/$|\/\/|\/\.{1,2}(\/|$)/.test(text.slice('spiffe://'.length)), `SPIFFE ID ${JSON.stringify(text)} was taken`);
  const role = roleOf(id.value);
  if (role.kind === 'service') check(spiffeIds.service(trustDomain, role.service) === text, `${text} has another service's role`);
  if (role.kind === 'agent') check(spiffeIds.agent(trustDomain, role.agent) === text, `${text} has another agent's role`);
}

export const target = {
  name: 'names',
  seeds: seeds.map((text) => Buffer.from(text)),
  dictionary: ['.svc.', '.isthmus.', 'spiffe://', '/ns/', '/svc/', '/agent/', '..', '//', '%2e', 'xn--', '\u0000', 'trust-root', 'ms', '-'],
  maxBytes: 2_200,
  run(input: Buffer): void {
    for (const text of [input.toString('latin1'), input.toString('utf8')]) {
      checkSni(text);
      checkSpiffeId(text);
      const service = parseServiceName(text);
      check(!service.ok || formatServiceName(service.value) === text, `service name ${JSON.stringify(text)} writes back otherwise`);
      const cluster = parseClusterName(text);
      check(!cluster.ok || /^[a-z0-9-]{1,32}$/.test(text), `cluster name ${JSON.stringify(text)} was taken`);
      const duration = parseDuration(text);
      check(!duration.ok || (duration.value >= 0 && formatDuration(Math.min(duration.value, 1e15)) !== ''), `duration ${JSON.stringify(text)} was taken`);
      const locality = parseLocality(text.slice(0, 100));
      check(formatLocality(locality).length <= 100, 'a locality grew');
    }
  },
};
