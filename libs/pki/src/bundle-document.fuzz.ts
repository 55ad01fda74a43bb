// Fuzz target: a bundle document is refused, or gives a bundle within bounds whose own document says the same; never an exception.
import type { TrustDomain } from '@isthmus/model';
import { hasSameKeys, makeBundleDocument, parseBundleDocument } from './bundle-document.ts';

/** A P-256 root certificate of `partner.example`, made once. */
const ROOT =
  'MIIBsDCCAVagAwIBAgIUW6IggSnsTTYGzmH7Mxd2JOManV4wCgYIKoZIzj0EAwIwGjEYMBYGA1UEAwwPcGFydG5lci5leGFtcGxlMCAXDTI2MTEyMTEzMjE0NloYDzIxMj' +
  'YxMDI4MTMyMTQ2WjAaMRgwFgYDVQQDDA9wYXJ0bmVyLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASuYSvoEa0OQgLei1hdJ8lPUzCySvgMtomRctiGTO7t' +
  'fBo8OL9XMwgHWDmnyxfOyyl8IhIaqYRFvyjgYn8w60Nvo3gwdjAdBgNVHQ4EFgQU0ansD5SJV52Kx0XRCPII16QCGfQwHwYDVR0jBBgwFoAU0ansD5SJV52Kx0XRCPII16' +
  'QCGfQwDwYDVR0TAQH/BAUwAwEB/zAjBgNVHREEHDAahhhzcGlmZmU6Ly9wYXJ0bmVyLmV4YW1wbGUwCgYIKoZIzj0EAwIDSAAwRQIgeqXLFHYThtdUJ+4tRVEFJujeHfjS' +
  'ZBI+qGmQI7O600YCIQDsMXPwB1rLVf3j1VGQtFwP17a945i76TJV/xaj0wQZeg==';
const trustDomain = 'partner.example' as TrustDomain;
const jwt = '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"jwt-svid","kid":"k1"}';

export const target = {
  name: 'bundle-document',
  seeds: [
    `{"keys":[],"spiffe_sequence":1,"spiffe_refresh_hint":300}`,
    `{"spiffe_sequence":12,"keys":[${jwt}]}`,
    `{"keys":[{"kty":"EC","use":"x509-svid","x5c":["${ROOT}"]},${jwt}]}`,
    `{"keys":[{"kty":"oct","use":"x509-svid"},{"kty":"RSA","n":"AQAB","e":"AQAB","use":"jwt-svid","kid":"r"}]}`,
  ].map((text) => Buffer.from(text)),
  dictionary: ['"x5c":', '"kid":', '"use":"x509-svid"', '"use":"jwt-svid"', '"kty":"RSA"', '"spiffe_sequence":', '"__proto__":', '-1', '1e309', 'null', '[', '{', ']', '}'],
  maxBytes: 4_096,
  run(input: Buffer): void {
    const parsed = parseBundleDocument(input, trustDomain);
    if (!parsed.ok) return;
    const { bundle } = parsed.value;
    if (bundle.trustDomain !== trustDomain) throw new Error('a document named its own trust domain');
    if (bundle.x509Authorities.length > 32 || (bundle.jwtAuthorities ?? []).length > 32) throw new Error('too many keys were taken');
    const again = parseBundleDocument(Buffer.from(makeBundleDocument(bundle)), trustDomain);
    if (!again.ok || !hasSameKeys(bundle, again.value.bundle)) throw new Error('a bundle did not come back from its own document');
  },
};
