// Chains that are SVIDs, in all the forms the standards leave open.
import { derExtension, derGeneralized, derInt, derName, derOid, derSeq, derUtc, dnsName, ext, tlv, uriName } from '../odd-certificate.ts';
import { BOTH_SIDES, type ChainCase, constrained, DAY_MS, dnsBase, flawed, ipBase, leafNamed, TRUST_DOMAIN, uriBase, WORKLOAD } from './chain.ts';

const ok = (kind: string, rule: string, make: ChainCase['make']): ChainCase => ({ kind, rule, want: 'ok', make });

export const ACCEPTED: readonly ChainCase[] = [
  ok('a leaf, its CA and a root', 'X509-SVID §5.1', (p) => p.three()),
  ok('the root is sent along', 'RFC 8446 §4.4.2', (p) => {
    const { chain, roots } = p.three();
    return { chain: [...chain, ...roots], roots };
  }),
  ok('two intermediates', 'X509-SVID §3.2', (p) => {
    const root = p.root();
    const first = p.ca(root, { subject: derName('regional'), key: p.keys.ca2 });
    const second = p.ca(first);
    return { chain: [p.leaf(second), second.cert, first.cert], roots: [root.cert] };
  }),
  ok('four CAs, one above the other', 'RFC 5280 §6.1', (p) => {
    const root = p.root();
    const cas = [p.ca(root, { subject: derName('1'), key: p.keys.ca2 })];
    for (const name of ['2', '3', '4']) {
      const above = cas[0];
      if (above !== undefined) cas.unshift(p.ca(above, { subject: derName(name), key: name === '3' ? p.keys.ca2 : p.keys.ca }));
    }
    const [lowest] = cas;
    return { chain: [p.leaf(lowest ?? root), ...cas.map((ca) => ca.cert)], roots: [root.cert] };
  }),
  ok('the intermediate itself is in the bundle', 'X509-SVID §5.1', (p) => {
    const ca = p.ca();
    return { chain: [p.leaf(ca)], roots: [ca.cert] };
  }),
  ok('the second of two roots', 'SPIFFE bundle §4', (p) => {
    const { chain, roots } = p.three();
    return { chain, roots: [p.root({ key: p.keys.other, subject: derName('other root') }).cert, ...roots] };
  }),
  ok('two roots of one name, the right one by its key identifier', 'RFC 5280 §4.2.1.1', (p) => {
    const { chain, roots } = p.three();
    return { chain, roots: [p.root({ key: p.keys.other }).cert, ...roots] };
  }),
  ok('a root renewed with its key, the old one run out', 'RFC 5280 §6.1.1', (p) => {
    const { chain, roots } = p.three();
    return { chain, roots: [p.root({ notAfter: derUtc(p.nowMs - 1_000) }).cert, ...roots] };
  }),
  ok('a new root signed by the old one, who only is known', 'RFC 4210 §4.4', (p) => {
    const old = p.root({ key: p.keys.other, subject: derName('old root') });
    const fresh = p.root();
    const cross = p.ca(old, { key: fresh.key, subject: fresh.subject, ext: { altNames: ext.altNames([uriName('spiffe://acme.example')]) } });
    const ca = p.ca(fresh);
    return { chain: [p.leaf(ca), ca.cert, cross.cert], roots: [old.cert] };
  }),
  ok('a new root signed by the old one, though known itself', 'RFC 4210 §4.4', (p) => {
    const old = p.root({ key: p.keys.other, subject: derName('old root') });
    const fresh = p.root();
    const cross = p.ca(old, { key: fresh.key, subject: fresh.subject });
    const ca = p.ca(fresh);
    return { chain: [p.leaf(ca), ca.cert, cross.cert], roots: [fresh.cert] };
  }),
  ok('a CA that a CA of the same name issued is not counted in path lengths', 'RFC 5280 §6.1.4 l', (p) => {
    const root = p.root({ ext: { basicConstraints: ext.basicConstraints(true, 1) } });
    const old = p.ca(root, { key: p.keys.ca2, subject: derName('same') });
    const fresh = p.ca(old, { subject: derName('same') });
    return { chain: [p.leaf(fresh), fresh.cert, old.cert], roots: [root.cert] };
  }),
  ok('a path length of 0 above a leaf', 'RFC 5280 §4.2.1.9', flawed('ca', { ext: { basicConstraints: ext.basicConstraints(true, 0) } })),
  ok('a path length of 1 above a CA', 'RFC 5280 §4.2.1.9', flawed('root', { ext: { basicConstraints: ext.basicConstraints(true, 1) } })),
  ok('no extended key usage', 'X509-SVID §4.4', flawed('leaf', { ext: { extKeyUsage: null } })),
  ok('a critical extended key usage', 'X509-SVID §4.4', flawed('leaf', { ext: { extKeyUsage: ext.extKeyUsage(BOTH_SIDES, true) } })),
  ok('a further extended key usage', 'X509-SVID §4.4', flawed('leaf', { ext: { extKeyUsage: ext.extKeyUsage([...BOTH_SIDES, '1.3.6.1.5.5.7.3.4']) } })),
  ok('a CA for both sides', 'X509-SVID §4.4', flawed('ca', { ext: { extKeyUsage: ext.extKeyUsage(BOTH_SIDES) } })),
  ok('a CA for any usage', 'RFC 5280 §4.2.1.12', flawed('ca', { ext: { extKeyUsage: ext.extKeyUsage(['2.5.29.37.0']) } })),
  ok('key encipherment and key agreement beside digital signature', 'X509-SVID §4.3', flawed('leaf', { ext: { keyUsage: ext.keyUsage(0xa8) } })),
  ok('a CA that may not sign CRLs', 'X509-SVID §4.3', flawed('ca', { ext: { keyUsage: ext.keyUsage(0x04) } })),
  ok('no basic constraints in a leaf', 'RFC 5280 §4.2.1.9', flawed('leaf', { ext: { basicConstraints: null } })),
  ok('basic constraints of a CA that are not critical', 'RFC 5280 §6.1.4 k', flawed('ca', { ext: { basicConstraints: ext.basicConstraints(true, undefined, false) } })),
  ok('no subject, and critical names', 'X509-SVID §3.1', flawed('leaf', { subject: derName(''), ext: { altNames: ext.altNames([uriName(WORKLOAD)], true) } })),
  ok('a subject, and critical names', 'X509-SVID §3.1', flawed('leaf', { ext: { altNames: ext.altNames([uriName(WORKLOAD)], true) } })),
  ok('a DNS name and an address beside the SPIFFE ID', 'X509-SVID §2', leafNamed(dnsName('payments.shop.svc'), uriName(WORKLOAD), ipBase(10, 1, 2, 3))),
  ok('a SPIFFE ID of 2048 bytes', 'SPIFFE-ID §2.3', leafNamed(uriName(WORKLOAD.padEnd(2_048, 'x')))),
  ok('every character a path may have', 'SPIFFE-ID §2.2', leafNamed(uriName(`spiffe://${TRUST_DOMAIN}/Az09._-/...`))),
  ok('a root without SPIFFE ID, its key usage not critical', 'X509-SVID §3.2', flawed('root', { ext: { altNames: null, keyUsage: ext.keyUsage(0x06, false) } })),
  ok('a CA confined to its trust domain', 'X509-SVID §4.2', constrained({ permitted: [uriBase(TRUST_DOMAIN)] })),
  ok('a CA confined to all below the federation', 'RFC 5280 §4.2.1.10', constrained({ permitted: [uriBase('.acme.example')] })),
  ok('a CA confined to two trust domains', 'RFC 5280 §4.2.1.10', constrained({ permitted: [uriBase('west.acme.example'), uriBase(TRUST_DOMAIN)] })),
  ok('a CA confined in capital letters', 'RFC 5280 §7.4', constrained({ permitted: [uriBase('EAST.acme.example')] })),
  ok('a CA that may not name another domain', 'RFC 5280 §4.2.1.10', constrained({ excluded: [uriBase('west.acme.example')] })),
  ok('a CA confined in DNS names, kept to', 'RFC 5280 §4.2.1.10', constrained({ permitted: [dnsBase('shop.svc')] }, [dnsName('a.shop.svc'), dnsName('shop.svc')])),
  ok('a CA confined in DNS names, none used', 'RFC 5280 §4.2.1.10', constrained({ permitted: [dnsBase('shop.svc')] }, [], { subject: derName('') })),
  ok('a CA confined in addresses, kept to', 'RFC 5280 §4.2.1.10', constrained({ permitted: [ipBase(10, 0, 0, 0, 255, 0, 0, 0)] }, [ipBase(10, 1, 2, 3)])),
  ok('no key identifiers', 'RFC 5280 §6.1', (p) => p.three({ root: { ext: { subjectKeyId: null } }, ca: { ext: { subjectKeyId: null, authorityKeyId: null } }, leaf: { ext: { subjectKeyId: null, authorityKeyId: null } } })),
  ok('an extension nobody knows, not critical', 'RFC 5280 §4.2', flawed('leaf', { more: [derExtension('1.2.3.4', false, derOid('1.2.3'))] })),
  ok('a serial number of 20 octets', 'RFC 5280 §4.1.2.2', flawed('leaf', { serial: derInt(0x7f, ...Array.from({ length: 19 }, () => 0xff)) })),
  ok('a serial number of one octet', 'RFC 5280 §4.1.2.2', flawed('leaf', { serial: derInt(1) })),
  ok('an end beyond 2049', 'RFC 5280 §4.1.2.5', flawed('leaf', { notAfter: derGeneralized(Date.UTC(2051, 0, 1)) })),
  ok('no end', 'RFC 5280 §4.1.2.5', flawed('leaf', { notAfter: derGeneralized(Date.UTC(9999, 11, 31, 23, 59, 59)) })),
  ok('the last second', 'RFC 5280 §4.1.2.5', flawed('leaf', (p) => ({ notAfter: derUtc(p.nowMs) }))),
  ok('the first second', 'RFC 5280 §4.1.2.5', flawed('leaf', (p) => ({ notBefore: derUtc(p.nowMs) }))),
  ok('a leaf that outlives its CA', 'RFC 5280 §6.1.3', flawed('leaf', (p) => ({ notAfter: derUtc(p.nowMs + 30 * DAY_MS) }))),
  ok('a subject of several parts', 'RFC 5280 §4.1.2.6', flawed('leaf', { subject: derSeq(tlv(0x31, derSeq(derOid('2.5.4.10'), tlv(0x0c, Buffer.from('acme'))), derSeq(derOid('2.5.4.11'), tlv(0x0c, Buffer.from('shop')))), tlv(0x31, derSeq(derOid('2.5.4.3'), tlv(0x13, Buffer.from('x'))))) })),
];
