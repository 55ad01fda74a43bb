// Chains refused for how their certificates stand to one another: validity, CAs, path lengths, name constraints, issuers.
import { derGeneralized, derInt, derName, derSeq, derText, derUtc, derExtension, dnsName, ext, keyIdOf, tlv, uriName } from '../odd-certificate.ts';
import { OID } from '../oid.ts';
import type { VerifyRefusal } from '../path.ts';
import { BOTH_SIDES, type ChainCase, constrained, DAY_MS, dnsBase, flawed, ipBase, type Pki, TRUST_DOMAIN, uriBase, WORKLOAD } from './chain.ts';

const no = (want: VerifyRefusal, kind: string, rule: string, make: ChainCase['make']): ChainCase => ({ kind, rule, want, make });
const past = (p: Pki) => ({ notAfter: derUtc(p.nowMs - 1_000) });
const future = (p: Pki) => ({ notBefore: derUtc(p.nowMs + 1_000) });
const EMAIL = derText(0x81, 'ops@acme.example');

/** leaf ← second ← first ← root, with a flaw in the CAs. */
function four(p: Pki, first: Parameters<Pki['ca']>[1] = {}, second: Parameters<Pki['ca']>[1] = {}, rootFlaw: Parameters<Pki['root']>[0] = {}): ReturnType<ChainCase['make']> {
  const root = p.root(rootFlaw);
  const upper = p.ca(root, { subject: derName('regional'), key: p.keys.ca2, ...first });
  const lower = p.ca(upper, second);
  return { chain: [p.leaf(lower), lower.cert, upper.cert], roots: [root.cert] };
}

const confined = (...hosts: readonly string[]) => ({ nameConstraints: ext.nameConstraints({ permitted: hosts.map(uriBase) }) });
const rawConstraints = (value: Buffer): ChainCase['make'] => flawed('ca', { ext: { nameConstraints: derExtension(OID.nameConstraints, true, value) } });

export const REFUSED_PATHS: readonly ChainCase[] = [
  no('expired', 'the leaf has run out', 'RFC 5280 §6.1.3 a 2', flawed('leaf', past)),
  no('expired', 'the intermediate has run out', 'RFC 5280 §6.1.3 a 2', flawed('ca', past)),
  no('expired', 'the root has run out', 'RFC 5280 §6.1.3 a 2', flawed('root', past)),
  no('not-yet-valid', 'the leaf has not begun', 'RFC 5280 §6.1.3 a 2', flawed('leaf', future)),
  no('not-yet-valid', 'the intermediate has not begun', 'RFC 5280 §6.1.3 a 2', flawed('ca', future)),
  no('not-yet-valid', 'the root has not begun', 'RFC 5280 §6.1.3 a 2', flawed('root', future)),
  no('expired', 'an end before the beginning', 'RFC 5280 §4.1.2.5', flawed('leaf', (p) => ({ notBefore: derUtc(p.nowMs + DAY_MS), notAfter: derUtc(p.nowMs - DAY_MS) }))),

  no('not-a-ca', 'an intermediate without basic constraints', 'RFC 5280 §6.1.4 k', flawed('ca', { ext: { basicConstraints: null } })),
  no('not-a-ca', 'an intermediate that is no CA', 'X509-SVID §4.1', flawed('ca', { ext: { basicConstraints: ext.basicConstraints(false) } })),
  no('not-a-ca', 'an intermediate that may not sign certificates', 'X509-SVID §4.3', flawed('ca', { ext: { keyUsage: ext.keyUsage(0x02) } })),
  no('not-a-ca', 'an intermediate without key usage', 'X509-SVID §4.3', flawed('ca', { ext: { keyUsage: null } })),
  no('not-a-ca', 'a root that is no CA', 'X509-SVID §4.1', flawed('root', { ext: { basicConstraints: ext.basicConstraints(false) } })),
  no('not-a-ca', 'a root that may not sign certificates', 'X509-SVID §4.3', flawed('root', { ext: { keyUsage: ext.keyUsage(0x02) } })),
  no('not-a-ca', 'a root without key usage', 'X509-SVID §3.2', flawed('root', { ext: { keyUsage: null } })),
  no('key-usage', 'an intermediate with a SPIFFE ID whose key usage is not critical', 'X509-SVID §4.3', flawed('ca', { ext: { keyUsage: ext.keyUsage(0x06, false) } })),
  no('not-a-ca', 'a leaf that signs a leaf', 'X509-SVID §5.2', (p) => {
    const root = p.root();
    const ca = p.ca(root);
    const leaf = p.leaf(ca, { key: p.keys.other });
    return { chain: [p.leaf({ cert: leaf, key: p.keys.other, subject: derName('workload') }), leaf, ca.cert], roots: [root.cert] };
  }),
  no('ext-key-usage', 'an intermediate for servers alone', 'X509-SVID §4.4', flawed('ca', { ext: { extKeyUsage: ext.extKeyUsage([OID.serverAuth]) } })),
  no('ext-key-usage', 'an intermediate for signing code', 'X509-SVID §4.4', flawed('ca', { ext: { extKeyUsage: ext.extKeyUsage(['1.3.6.1.5.5.7.3.3']) } })),

  no('path-length', 'a path length of 0 above two CAs', 'RFC 5280 §6.1.4 l', (p) => four(p, { ext: { basicConstraints: ext.basicConstraints(true, 0) } })),
  no('path-length', 'a root with a path length of 0 above a CA', 'RFC 5280 §6.1.4 l', flawed('root', { ext: { basicConstraints: ext.basicConstraints(true, 0) } })),
  no('path-length', 'a root with a path length of 1 above two CAs', 'RFC 5280 §6.1.4 l', (p) => four(p, {}, {}, { ext: { basicConstraints: ext.basicConstraints(true, 1) } })),
  no('path-length', 'a path length that the next CA widens', 'RFC 5280 §6.1.4 m', (p) => four(p, { ext: { basicConstraints: ext.basicConstraints(true, 9) } }, {}, { ext: { basicConstraints: ext.basicConstraints(true, 1) } })),

  no('name-constraint', 'a west intermediate signs an east name', 'X509-SVID §4.2', flawed('ca', { ext: { ...confined('west.acme.example'), altNames: ext.altNames([uriName('spiffe://west.acme.example')]) } })),
  no('issuer-mismatch', 'a west intermediate without constraints signs an east name', 'X509-SVID §3.2', flawed('ca', { ext: { altNames: ext.altNames([uriName('spiffe://west.acme.example')]) } })),
  no('issuer-mismatch', 'a west intermediate with constraints wider than west signs an east name', 'X509-SVID §3.2', flawed('ca', { ext: { ...confined('.acme.example'), altNames: ext.altNames([uriName('spiffe://west.acme.example')]) } })),
  no('issuer-mismatch', 'the root of the federation signs a leaf itself', 'X509-SVID §3.2', (p) => {
    const root = p.root();
    return { chain: [p.leaf(root)], roots: [root.cert] };
  }),
  no('issuer-mismatch', 'a CA without SPIFFE ID signs a leaf', 'X509-SVID §3.2', flawed('ca', { ext: { altNames: null } })),
  no('issuer-mismatch', 'a CA whose SPIFFE ID has a path', 'X509-SVID §3.2', flawed('ca', { ext: { altNames: ext.altNames([uriName(`spiffe://${TRUST_DOMAIN}/ca`)]) } })),
  no('issuer-mismatch', 'a CA higher up whose SPIFFE ID has a path', 'X509-SVID §3.2', flawed('root', { ext: { altNames: ext.altNames([uriName('spiffe://acme.example/root')]) } })),
  no('issuer-mismatch', 'a CA with two SPIFFE IDs', 'X509-SVID §2', flawed('ca', { ext: { altNames: ext.altNames([uriName(`spiffe://${TRUST_DOMAIN}`), uriName('spiffe://west.acme.example')]) } })),
  no('issuer-mismatch', 'a CA whose name is no SPIFFE ID', 'X509-SVID §5.2', flawed('ca', { ext: { altNames: ext.altNames([uriName('https://east.acme.example')]) } })),
  no('issuer-mismatch', 'a CA whose SPIFFE ID begins like the trust domain and goes on', 'SPIFFE-ID §2.1', flawed('ca', { ext: { altNames: ext.altNames([uriName(`spiffe://${TRUST_DOMAIN}.evil`)]) } })),

  no('name-constraint', 'a CA confined to the domain above, without a dot', 'RFC 5280 §4.2.1.10', constrained({ permitted: [uriBase('acme.example')] })),
  no('name-constraint', 'a CA confined to all below the trust domain, but not to itself', 'RFC 5280 §4.2.1.10', constrained({ permitted: [uriBase(`.${TRUST_DOMAIN}`)] })),
  no('name-constraint', 'a CA confined to a domain that ends alike', 'RFC 5280 §4.2.1.10', constrained({ permitted: [uriBase('st.acme.example')] })),
  no('name-constraint', 'a CA that may not name this domain', 'RFC 5280 §4.2.1.10', constrained({ excluded: [uriBase(TRUST_DOMAIN)] })),
  no('name-constraint', 'a CA that may name nothing below the federation', 'RFC 5280 §4.2.1.10', constrained({ excluded: [uriBase('.acme.example')] })),
  no('name-constraint', 'exclusion wins over permission', 'RFC 5280 §6.1.3 c', constrained({ permitted: [uriBase(TRUST_DOMAIN)], excluded: [uriBase('.acme.example')] })),
  no('name-constraint', 'a root confined to another domain', 'RFC 5280 §6.1', flawed('root', { ext: confined('west.acme.example') })),
  no('name-constraint', 'a CA below a confined one widens', 'RFC 5280 §6.1.4 g', (p) => four(p, { ext: { ...confined('west.acme.example'), altNames: null } }, { ext: confined(TRUST_DOMAIN, 'west.acme.example') })),
  no('name-constraint', 'the name of an intermediate is outside the constraints of the root', 'RFC 5280 §6.1.3 b', (p) => four(p, { ext: { altNames: ext.altNames([uriName('spiffe://west.acme.example')]) } }, {}, { ext: confined(TRUST_DOMAIN) })),
  no('name-constraint', 'constraints that are not critical hold all the same', 'RFC 5280 §6.1.4 g', flawed('ca', { ext: { nameConstraints: ext.nameConstraints({ permitted: [uriBase('west.acme.example')] }, false) } })),
  no('name-constraint', 'a CA confined in DNS names, not kept to', 'RFC 5280 §4.2.1.10', constrained({ permitted: [dnsBase('shop.svc')] }, [dnsName('bank.svc')])),
  no('name-constraint', 'a CA confined in DNS names, one that ends alike', 'RFC 5280 §4.2.1.10', constrained({ permitted: [dnsBase('shop.svc')] }, [dnsName('eshop.svc')])),
  no('name-constraint', 'a CA that may name no host', 'RFC 5280 §4.2.1.10', constrained({ excluded: [dnsBase('')] }, [dnsName('payments.shop.svc')])),
  no('name-constraint', 'a CA confined in addresses, not kept to', 'RFC 5280 §4.2.1.10', constrained({ permitted: [ipBase(10, 0, 0, 0, 255, 0, 0, 0)] }, [ipBase(192, 168, 0, 1)])),
  no('name-constraint', 'a CA confined in e-mail addresses, and a leaf with one', 'RFC 5280 §4.2.1.10', constrained({ permitted: [derText(0x81, 'other.example')] }, [EMAIL])),
  no('name-constraint', 'a CA confined in directory names, and a leaf with a subject', 'RFC 5280 §4.2.1.10', constrained({ permitted: [tlv(0xa4, derName('shop'))] })),
  no('malformed', 'empty name constraints', 'RFC 5280 §4.2.1.10', rawConstraints(derSeq())),
  no('malformed', 'name constraints with an empty list', 'RFC 5280 §4.2.1.10', rawConstraints(derSeq(tlv(0xa0)))),
  no('malformed', 'name constraints with a minimum', 'RFC 5280 §4.2.1.10', rawConstraints(derSeq(tlv(0xa0, derSeq(uriBase(TRUST_DOMAIN), derText(0x80, '\u0001')))))),
  no('malformed', 'a URI constraint that is a URI', 'RFC 5280 §4.2.1.10', constrained({ permitted: [uriBase(`spiffe://${TRUST_DOMAIN}`)] })),
  no('malformed', 'a URI constraint with a port', 'RFC 5280 §4.2.1.10', constrained({ permitted: [uriBase(`${TRUST_DOMAIN}:443`)] })),
  no('malformed', 'an address constraint without mask', 'RFC 5280 §4.2.1.10', constrained({ permitted: [ipBase(10, 0, 0, 0)] }, [ipBase(10, 0, 0, 0)])),
  no('leaf-is-ca', 'name constraints in a leaf', 'RFC 5280 §4.2.1.10', flawed('leaf', { ext: confined(TRUST_DOMAIN) })),

  no('untrusted', 'the intermediate is missing', 'RFC 5280 §6.1', (p) => {
    const { chain, roots } = p.three();
    return { chain: chain.slice(0, 1), roots };
  }),
  no('untrusted', 'the upper of two intermediates is missing', 'RFC 5280 §6.1', (p) => {
    const { chain, roots } = four(p);
    return { chain: chain.slice(0, 2), roots };
  }),
  no('untrusted', 'the intermediates come in the wrong order', 'Workload API §5.2.1', (p) => {
    const { chain, roots } = four(p);
    const [leaf = Buffer.alloc(0), ...cas] = chain;
    return { chain: [leaf, ...cas.toReversed()], roots };
  }),
  no('untrusted', 'the root is another one', 'SPIFFE-ID §3.1', (p) => ({ chain: p.three().chain, roots: [p.root({ key: p.keys.other, subject: derName('other') }).cert] })),
  no('untrusted', 'the root is another one of the same name', 'SPIFFE-ID §3.1', (p) => ({ chain: p.three().chain, roots: [p.root({ key: p.keys.other }).cert] })),
  no('bad-signature', 'the root is another one of the same name and key identifier', 'RFC 5280 §6.1.3 a 1', (p) => {
    const lookalike = p.root({ key: p.keys.other, ext: { subjectKeyId: ext.subjectKeyId(keyIdOf(p.keys.root)) } });
    return { chain: p.three().chain, roots: [lookalike.cert] };
  }),
  no('untrusted', 'the root is sent along and not in the bundle', 'SPIFFE-ID §3.1', (p) => {
    const { chain, roots } = p.three();
    return { chain: [...chain, ...roots], roots: [p.root({ key: p.keys.other, subject: derName('other') }).cert] };
  }),
  no('untrusted', 'the root is sent along, and the bundle holds another of its name', 'SPIFFE-ID §3.1', (p) => {
    const { chain, roots } = p.three();
    return { chain: [...chain, ...roots], roots: [p.root({ key: p.keys.other }).cert] };
  }),
  no('untrusted', 'a leaf that signed itself', 'X509-SVID §5.1', (p) => ({ chain: [selfSigned(p)], roots: p.three().roots })),
  no('not-a-ca', 'a leaf that signed itself and is in the bundle', 'X509-SVID §3.2', (p) => {
    const leaf = selfSigned(p);
    return { chain: [leaf], roots: [leaf] };
  }),
  no('untrusted', 'the leaf is in the bundle', 'X509-SVID §3.2', (p) => {
    const [leaf = Buffer.alloc(0)] = p.three().chain;
    return { chain: [leaf], roots: [leaf] };
  }),
  no('bad-signature', 'an intermediate of the right name and key identifier, which did not sign', 'RFC 5280 §6.1.3 a 1', (p) => {
    const root = p.root();
    const ca = p.ca(root);
    return { chain: [p.leaf(ca, { signer: p.keys.other }), ca.cert], roots: [root.cert] };
  }),
  no('untrusted', 'the issuer has another name', 'RFC 5280 §6.1.3 a 4', flawed('leaf', { issuer: derName('somebody') })),
  no('untrusted', 'the issuer is named with another key identifier', 'RFC 5280 §4.2.1.1', flawed('leaf', { ext: { authorityKeyId: ext.authorityKeyId(Buffer.alloc(20, 7)) } })),
  no('untrusted', 'the issuer has no name', 'RFC 5280 §4.1.2.4', (p) => p.three({ ca: { subject: derName('') }, leaf: { issuer: derName('') } })),
  no('untrusted', 'the issuer is written in another string type', 'RFC 5280 §7.1', flawed('leaf', { issuer: derName('intermediate', 0x13) })),
  no('untrusted', 'the leaf twice', 'Workload API §5.2.1', (p) => {
    const { chain, roots } = p.three();
    const [leaf = Buffer.alloc(0)] = chain;
    return { chain: [leaf, ...chain], roots };
  }),
  no('too-large', 'six certificates', 'reliability 46', (p) => {
    const { chain, roots } = p.three();
    const [leaf = Buffer.alloc(0), ca = Buffer.alloc(0)] = chain;
    return { chain: [leaf, ca, ca, ca, ca, ca], roots };
  }),
  no('too-large', 'a hundred CAs, one above the other', 'reliability 46', (p) => {
    const root = p.root();
    let above = root;
    const cas: Buffer[] = [];
    for (let i = 0; i < 100; i++) {
      above = p.ca(above, { subject: derName(`ca ${i}`), key: i % 2 === 0 ? p.keys.ca2 : p.keys.ca });
      cas.unshift(above.cert);
    }
    return { chain: [p.leaf(above), ...cas], roots: [root.cert] };
  }),
  no('ext-key-usage', 'a root for servers alone', 'X509-SVID §4.4', flawed('root', { ext: { extKeyUsage: ext.extKeyUsage([OID.serverAuth]) } })),
  no('expired', 'a far end, but long past', 'RFC 5280 §4.1.2.5', flawed('leaf', { notBefore: derGeneralized(Date.UTC(1900, 0, 1)), notAfter: derGeneralized(Date.UTC(1901, 0, 1)) })),
  no('wrong-trust-domain', 'a name of another trust domain under the right root', 'SPIFFE-ID §3.1', flawed('leaf', { ext: { altNames: ext.altNames([uriName('spiffe://west.acme.example/ns/shop/svc/payments')]) } })),
  no('wrong-trust-domain', 'a name of a trust domain below', 'SPIFFE-ID §2.1', flawed('leaf', { ext: { altNames: ext.altNames([uriName(`spiffe://a.${TRUST_DOMAIN}/x`)]) } })),
  no('malformed', 'a version 1 intermediate', 'RFC 5280 §6.1.4 k', flawed('ca', { version: undefined, ext: { basicConstraints: null, keyUsage: null, altNames: null, subjectKeyId: null, authorityKeyId: null } })),
  no('malformed', 'a negative path length', 'RFC 5280 §4.2.1.9', flawed('ca', { ext: { basicConstraints: ext.basicConstraints(true, 0xff) } })),
  no('malformed', 'a path length in a leaf', 'RFC 5280 §4.2.1.9', flawed('leaf', { ext: { basicConstraints: ext.basicConstraints(false, 3) } })),
  no('untrusted', 'the issuer is named by serial number, and has another', 'RFC 5280 §4.2.1.1', flawed('leaf', (p) => ({ ext: { authorityKeyId: aki(p) } }))),
  no('expired', 'only an expired root of two with its key', 'RFC 5280 §6.1.1', (p) => {
    const { chain } = p.three();
    return { chain, roots: [p.root({ notAfter: derUtc(p.nowMs - 1_000) }).cert, p.root({ notAfter: derUtc(p.nowMs - 2_000), serial: derInt(9) }).cert] };
  }),
];

function aki(p: Pki): Buffer {
  const issuer = tlv(0xa1, tlv(0xa4, derName('root')));
  return derExtension(OID.authorityKeyId, false, derSeq(tlv(0x80, keyIdOf(p.keys.ca)), issuer, derText(0x82, 'zz')));
}

function selfSigned(p: Pki): Buffer {
  const subject = derName('alone');
  return p.leaf({ cert: Buffer.alloc(0), key: p.keys.leaf, subject }, { subject, ext: { extKeyUsage: ext.extKeyUsage(BOTH_SIDES), altNames: ext.altNames([uriName(WORKLOAD)]) } });
}
